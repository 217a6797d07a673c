//! Carries out what the conversation wants, and tells it what came of that.

use std::time::Duration;

use futures_util::FutureExt as _;

use super::keeping::{awaited, kept_by, refused};
use super::{Done, End, Going, Settled};
use crate::call::Fault;
use crate::dialect::mqtt::{Effect, Reason, Version, encode};
use crate::ingress::mqtt_listener::{kept, subscriptions};

impl Going {
    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Message(ticket, publish) => self.message(ticket, publish),
            Effect::Await(ticket, id) => {
                let qos = 2;
                let settled = Settled { ticket, qos, id };
                let outcome = awaited(self.device.clone(), id);
                let done = outcome.map(move |outcome| Done::Settled(settled, outcome));
                self.keeping.push(done.boxed());
            }
            Effect::Subscribe(id, identifier, wishes) => {
                let served = &mut self.worker.served;
                let answered = subscriptions::subscribe(&self.device, served, identifier, wishes);
                if answered.serves {
                    self.worker.offer(&self.context);
                }
                let done = Done::Subscribed(id, answered.codes, answered.curious);
                self.once_kept(done);
            }
            Effect::Unsubscribe(id, filters) => {
                let served = &mut self.worker.served;
                let (codes, serves) = subscriptions::unsubscribe(&self.device, served, &filters);
                if serves {
                    self.worker.offer(&self.context);
                }
                self.once_kept(Done::Unsubscribed(id, codes));
            }
            Effect::Forget(seq) => self.forget(seq),
            Effect::Release(seq, id) => {
                let store = &self.device.shared.store;
                let noted = store.release_message(self.device.number, seq);
                let noted = async move {
                    kept_by(noted).await;
                    Done::Received(id)
                };
                self.keeping.push(noted.boxed());
            }
            Effect::Complete(id) => self.complete(id),
            Effect::Expiry(seconds) => {
                let wanted = Duration::from_secs(seconds.into());
                let mut state = self.device.lock();
                // Another connection that has the session by now said how long itself.
                if state.is_of(self.connection) {
                    state.expiry = wanted.min(self.most);
                }
            }
            Effect::Close(Some(reason)) => self.closing = Some(End::Close(reason)),
            Effect::Close(None) => self.closing = Some(End::Goodbye),
            Effect::CloseWithWill => self.closing = Some(End::Lost),
        }
    }

    /// Ends what began with a message of QoS 2. Before that is on disk the client must not use the
    /// identifier again: after a restart, the new message would pass for the old one.
    fn complete(&mut self, id: u16) {
        let mut state = self.device.lock();
        if !state.kept {
            let session = &mut state.session;
            return self.conversation.complete(id, session, &mut self.out);
        }
        let store = &self.device.shared.store;
        let forgotten = store.forget_received(self.device.number, id);
        drop(state);
        let forgotten = async move {
            let outcome = match forgotten {
                Ok(forgotten) => forgotten.await.unwrap_or(Ok(())),
                Err(fault) => Err(fault),
            };
            Done::Completed(id, outcome)
        };
        self.keeping.push(forgotten.boxed());
    }

    /// Puts the subscriptions on disk first, where they are to outlive the connection.
    fn once_kept(&mut self, done: Done) {
        let state = self.device.lock();
        if !state.kept {
            drop(state);
            return self.done(done);
        }
        let kept = kept::device(&self.device, &state);
        let (tell, told) = tokio::sync::oneshot::channel();
        // Whoever waits may have gone away.
        let told_by = move |outcome| tell.send(outcome).unwrap_or_default();
        let kept = self.device.shared.store.keep_device(kept, told_by);
        drop(state);
        let keeping = async move {
            kept_by(kept.map(|()| told)).await;
            done
        };
        self.keeping.push(keeping.boxed());
    }

    pub(super) fn done(&mut self, done: Done) {
        let version = self.conversation.version();
        match done {
            Done::Settled(settled, outcome) => self.settle(settled, outcome),
            Done::Subscribed(id, codes, curious) => {
                encode::suback(version, id, &codes, &mut self.out);
                for one in curious {
                    self.curious.retain(|(wish, _)| wish.filter != one.0.filter);
                    self.curious.push_back(one);
                }
                // So there are no more than there are subscriptions.
                let state = self.device.lock();
                let subscribed = state.session.subscriptions();
                self.curious
                    .retain(|(wish, _)| subscribed.contains_key(&*wish.filter));
            }
            Done::Unsubscribed(id, codes) => encode::unsuback(version, id, &codes, &mut self.out),
            Done::Received(id) => self.conversation.release(id, &mut self.out),
            Done::Completed(id, Ok(())) => {
                let mut state = self.device.lock();
                // On another connection the client may use the identifier again already.
                if state.is_of(self.connection) {
                    let session = &mut state.session;
                    self.conversation.complete(id, session, &mut self.out);
                }
            }
            Done::Completed(_, Err(fault)) => {
                // Its client releases the message again when it is back.
                tracing::debug!(%fault, "the state of an MQTT session is not on disk");
                self.closing = Some(End::Close(Reason::ServerUnavailable));
            }
        }
    }

    pub(super) fn settle(&mut self, settled: Settled, outcome: Result<(), Fault>) {
        let mut reason = Reason::Success;
        if let Err(fault) = outcome {
            self.context.metrics.dropped("mqtt", "refused");
            tracing::debug!(caller = self.device.caller.name(), kind = %fault.kind,
                why = %fault.message, "a message of an MQTT client was refused");
            match self.conversation.version() {
                Version::V5 => reason = Reason::of(&fault),
                // MQTT 3.1.1 cannot say no: the client is to send it again.
                Version::V4 if fault.may_pass() && settled.qos > 0 => {
                    refused(&self.device, settled);
                    self.closing = Some(End::Close(Reason::ServerUnavailable));
                    return;
                }
                Version::V4 => {}
            }
        }
        if settled.qos > 0 {
            let session = &mut self.device.lock().session;
            self.conversation
                .settle(settled.ticket, reason, session, &mut self.out);
        }
        if reason.is_failure() {
            // A connection that has taken over may wait for this one.
            self.device.settled.notify_waiters();
        }
    }
}

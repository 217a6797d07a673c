//! What a message of the client means, and when it may be acknowledged.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Done, FAREWELL, Going, Settled};
use crate::call::{Fault, Kind};
use crate::channel::Keeping;
use crate::dialect::mqtt::topic::{ANSWERS, CALLS, below};
use crate::dialect::mqtt::{Publish, RECEIVE_MAXIMUM, Ticket};
use crate::ingress::mqtt_listener::calls::Asked;
use crate::ingress::mqtt_listener::device::Device;
use crate::ingress::mqtt_listener::events;
use crate::ingress::mqtt_listener::scriptr::{self, Meant};
use crate::ingress::work::Work;

impl Going {
    /// What a message means: the topic says it.
    pub(super) fn message(&mut self, ticket: Ticket, publish: Publish) {
        let settled = Settled {
            ticket,
            qos: publish.qos,
            id: publish.id,
        };
        if let Some(number) = below(ANSWERS, &publish.topic) {
            let version = self.conversation.version();
            if !self.worker.answer(version, number, &publish) {
                self.context.metrics.dropped("mqtt", "late_reply");
            }
            return self.settle(settled, Ok(()));
        }
        if below(CALLS, &publish.topic).is_some() {
            return self.call(settled, Asked::read(&self.context, publish));
        }
        let publish = match scriptr::read(&self.context, &self.device.shared.names, publish) {
            Meant::Call(asked) => return self.call(settled, *asked),
            Meant::Event(publish) => publish,
        };
        match events::publish(&self.context.hub, &self.device, publish) {
            Ok(_receipt) if settled.qos == 0 => {}
            // Nothing to wait for; of QoS 2 its identifier may have to be.
            Ok(receipt) if settled.qos == 1 && receipt.is_kept() => self.settle(settled, Ok(())),
            Ok(receipt) => self.keep(settled, async move { receipt.kept().await.map(drop) }),
            Err(fault) => self.settle(settled, Err(fault)),
        }
    }

    fn call(&mut self, settled: Settled, asked: Asked) {
        let caller = self.device.caller.clone();
        let (context, source) = (self.context.clone(), self.source.clone());
        let limit = self.context.config.limits.in_flight_per_connection;
        if !asked.is_waited_for() {
            if settled.qos == 0 && self.keeping.len() >= RECEIVE_MAXIMUM.into() {
                self.context
                    .metrics
                    .limit_reached("in_flight_per_connection");
                return self.context.metrics.dropped("mqtt", "no_place");
            }
            return self.keep(settled, asked.accepted(context, caller, source));
        }
        if self.calls.len() >= limit {
            self.context
                .metrics
                .limit_reached("in_flight_per_connection");
            let message = format!("this connection has {limit} calls under way already");
            let fault = Fault::new(Kind::Overloaded, message);
            let refusal = asked.refused(&context, fault.with_retry_after(FAREWELL));
            self.push(refusal);
            return self.settle(settled, Ok(()));
        }
        let one_way = asked.is_one_way(&context);
        let answered = asked.answered(context, caller, source);
        if !one_way || settled.qos == 0 {
            // On arrival: the outcome of a call is its reply.
            self.settle(settled, Ok(()));
            return self.calls.push(answered.boxed());
        }
        // It is on disk, or its caller is told that it is not.
        let device = self.device.clone();
        self.keep(settled, async move {
            let message = answered.await;
            device.push(&mut device.lock(), message);
            Ok(())
        });
    }

    /// Acknowledges a message once it is kept.
    fn keep(
        &mut self,
        settled: Settled,
        kept: impl Future<Output = Result<(), Fault>> + Send + 'static,
    ) {
        let device = self.device.clone();
        let keeping = async move {
            let outcome = kept.await;
            if settled.qos == 2
                && outcome.is_ok()
                && let Some(noted) = note_received(&device, settled.id)
            {
                kept_by(noted).await;
            }
            device.settled.notify_waiters();
            Done::Settled(settled, outcome)
        };
        self.keeping.push(keeping.boxed());
    }
}

/// Notes that a message of QoS 2 of a client may be acknowledged; on disk too, where its session
/// is there.
fn note_received(device: &Device, id: u16) -> Option<Result<Keeping, Fault>> {
    let mut state = device.lock();
    state.session.received.settle(id);
    let store = &device.shared.store;
    state.kept.then(|| store.keep_received(device.number, id))
}

/// Waits for what comes of a message that an earlier connection of the session began with.
pub(super) async fn awaited(device: Arc<Device>, id: u16) -> Result<(), Fault> {
    loop {
        let settled = device.settled.notified();
        let state = device.lock().session.received.is_settled(id);
        match state {
            Some(true) => return Ok(()),
            Some(false) => settled.await,
            None => {
                let why = "the message was not kept; send it again";
                return Err(Fault::unavailable("not_kept", why));
            }
        }
    }
}

/// Waits for the disk. What it cannot keep costs no more than that something is sent twice.
pub(super) async fn kept_by(keeping: Result<Keeping, Fault>) {
    let kept = match keeping {
        Ok(keeping) => keeping.await.unwrap_or(Ok(())),
        Err(fault) => Err(fault),
    };
    if let Err(fault) = kept {
        tracing::debug!(%fault, "the state of an MQTT session is not on disk");
    }
}

/// Finishes what was begun on a connection that is gone: its client sends it again, and is to
/// find it as it ended.
pub(super) async fn finish(device: Arc<Device>, mut keeping: Work<BoxFuture<'static, Done>>) {
    while let Some(done) = keeping.next().await {
        if let Done::Settled(settled, Err(_)) = done {
            refused(&device, settled);
        }
    }
}

/// The client sends a message again, which is a new one then. At QoS 1 any of them is, and its
/// identifier may belong to one of QoS 2 by now.
pub(super) fn refused(device: &Device, settled: Settled) {
    if settled.qos == 2 {
        device.lock().session.received.forget(settled.id);
        device.settled.notify_waiters();
    }
}

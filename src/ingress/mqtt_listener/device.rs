//! One client between and during its connections: its session, and how events get there.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use super::events::RESERVED;
use super::kept;
use super::names::Names;
use super::wills::Pending;
use crate::auth::{Caller, Verb};
use crate::call::{Fault, unix_ms};
use crate::channel::{Ear, Event, Hub, Keeping, Last, Manner, unkept};
use crate::dialect::mqtt::topic::{below, filter_of, topic_of};
use crate::dialect::mqtt::{Message, Session};
use crate::observe::Metrics;
use crate::router::Pattern;
use crate::store::Store;

/// What all of them share.
pub(super) struct Shared {
    pub(super) names: Names,
    pub(super) hub: Weak<Hub>,
    pub(super) store: Store,
    pub(super) metrics: Arc<Metrics>,
    pub(super) background: TaskTracker,
    /// Bytes of wills that are on disk.
    pub(super) wills: AtomicUsize,
}

/// A client that has a session.
pub(super) struct Device {
    /// Tells its session from every other one, also of the same client.
    pub(super) number: u64,
    pub(super) caller: Caller,
    pub(super) client: Arc<str>,
    pub(super) shared: Arc<Shared>,
    /// Tells that a message of QoS 2 of the client was kept, or refused.
    pub(super) settled: Notify,
    /// For the disk, which may tell of a message when the session is gone.
    this: Weak<Device>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) session: Session,
    /// The connection that it has now.
    pub(super) connection: Option<Connection>,
    /// How long it outlives its connection.
    pub(super) expiry: Duration,
    /// It is on disk.
    pub(super) kept: bool,
    /// It was ended: nothing is added any more.
    pub(super) ended: bool,
    /// Boxed, because most have none.
    pub(super) will: Option<Box<Pending>>,
    /// What waits for its end, or for the time of its will, while it has no connection.
    pub(super) lingering: Option<AbortHandle>,
    /// Where it stands among those without a connection.
    pub(super) place: Option<u64>,
    /// What the hub tells it of; by filter, so that equal patterns are one, and in its order.
    heard: Box<[(String, Pattern)]>,
}

pub(super) struct Connection {
    pub(super) number: u64,
    waker: Option<Waker>,
}

impl Connection {
    pub(super) fn new(number: u64) -> Connection {
        let waker = None;
        Connection { number, waker }
    }
}

impl State {
    /// Whether the session is still this connection's, and no other has taken it over.
    pub(super) fn is_of(&self, connection: u64) -> bool {
        let own = self.connection.as_ref();
        own.is_some_and(|own| own.number == connection)
    }

    /// Wakes this one when there is something to send, and when another connection takes the
    /// session over. False if one has.
    pub(super) fn register(&mut self, connection: u64, waker: &Waker) -> bool {
        let own = self.connection.as_mut();
        let Some(own) = own.filter(|own| own.number == connection) else {
            return false;
        };
        match &mut own.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        true
    }

    /// Wakes the connection, if there is one.
    pub(super) fn wake(&self) {
        let waker = self.connection.as_ref().and_then(|own| own.waker.as_ref());
        if let Some(waker) = waker {
            waker.wake_by_ref();
        }
    }
}

impl Device {
    pub(super) fn new(
        number: u64,
        (caller, client): (Caller, Arc<str>),
        session: Session,
        shared: &Arc<Shared>,
    ) -> Arc<Device> {
        Arc::new_cyclic(|this| Device {
            number,
            caller,
            client,
            shared: shared.clone(),
            settled: Notify::new(),
            this: this.clone(),
            state: Mutex::new(State {
                session,
                connection: None,
                expiry: Duration::ZERO,
                kept: false,
                ended: false,
                will: None,
                lingering: None,
                place: None,
                heard: Box::default(),
            }),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Has the hub tell what the subscriptions need, and nothing else.
    pub(super) fn listen(self: &Arc<Self>) {
        let Some(hub) = self.shared.hub.upgrade() else {
            return;
        };
        let mut state = self.lock();
        let mut wanted = BTreeMap::new();
        if !state.ended {
            // Nothing is published on what is reserved.
            let filters = state.session.subscriptions().keys();
            for filter in filters.filter(|filter| below(RESERVED, filter).is_none()) {
                let patterns = self.shared.names.patterns(filter).into_iter();
                wanted.extend(patterns.map(|pattern| (filter_of(&pattern), pattern)));
            }
        }
        let ear: Arc<dyn Ear> = self.clone();
        let before = std::mem::take(&mut state.heard);
        for (filter, pattern) in &wanted {
            let known = before.binary_search_by(|(known, _)| known.cmp(filter));
            if known.is_err() {
                hub.listen(pattern, &ear);
            }
        }
        for (filter, pattern) in &before {
            if !wanted.contains_key(filter) {
                hub.stop_listening(pattern, self.number);
            }
        }
        state.heard = wanted.into_iter().collect();
    }

    /// A last event as this client gets it when it subscribes; `None` if the filter does not take
    /// it.
    pub(super) fn last(
        &self,
        last: &Last,
        takes: impl Fn(&str) -> bool,
        qos: u8,
        identifier: Option<u32>,
    ) -> Option<Message> {
        let manner = last.manner.as_ref();
        let topic = self.topic_taken(&last.event, takes)?;
        Some(Message {
            qos: qos.min(manner.map_or(2, |manner| manner.qos)),
            retain: true,
            identifiers: identifier.into_iter().collect(),
            ..message(&last.event, topic, manner)
        })
    }

    /// The name or a topic of an event's channel that is taken.
    fn topic_taken(&self, event: &Event, takes: impl Fn(&str) -> bool) -> Option<Arc<str>> {
        let name = topic_of(&event.channel);
        if takes(&name) {
            return Some(match name {
                std::borrow::Cow::Borrowed(_) => event.channel.clone(),
                std::borrow::Cow::Owned(name) => name.into(),
            });
        }
        let mut topics = self.shared.names.topics(&event.channel);
        topics.find(|topic| takes(topic)).map(Arc::from)
    }

    /// Puts a message for the client behind the others, if there is room; what it returns tells
    /// when it is on disk, where it has to be.
    pub(super) fn push(&self, state: &mut State, message: Message) -> Option<Keeping> {
        if !state.session.has_room() && Self::lives(state, &message) {
            self.shared.metrics.limit_reached("device_queue");
            self.shared.metrics.dropped("mqtt", "queue_full");
            return None;
        }
        self.put(state, message)
    }

    /// The same, without a look at the room.
    pub(super) fn put(&self, state: &mut State, mut message: Message) -> Option<Keeping> {
        if !Self::lives(state, &message) {
            return None;
        }
        message.stored &= state.kept && message.qos > 0;
        let kept = message.stored.then(|| kept::message(&message));
        let waits = message.qos == 2;
        let seq = state.session.push(message);
        state.wake();
        let kept = kept?.at(seq);
        let (tell, told) = oneshot::channel();
        let this = waits.then(|| self.this.clone());
        let told_by = move |outcome: Result<(), Fault>| {
            if let Some(device) = this.and_then(|this| this.upgrade()) {
                device.written(&mut device.lock(), seq, outcome.is_ok());
            }
            // Nobody there: whoever published it has gone away, or waits for nothing.
            tell.send(outcome).unwrap_or_default();
        };
        let asked = self.shared.store.keep_message(self.number, kept, told_by);
        Some(match asked {
            Ok(()) => told,
            Err(fault) => {
                if waits {
                    self.written(state, seq, false);
                }
                unkept(fault)
            }
        })
    }

    /// The disk has a message of QoS 2, so that it can be sent, or cannot have it. Then it is left
    /// out: whoever published it is told so and publishes it again, and it comes once.
    fn written(&self, state: &mut State, seq: u64, kept: bool) {
        if kept {
            state.session.kept(seq);
        } else if state.session.unkept(seq) {
            self.shared.metrics.dropped("mqtt", "not_kept");
        }
        state.wake();
    }

    /// Whether a message has anybody to wait for.
    fn lives(state: &State, message: &Message) -> bool {
        let waits = message.qos > 0 && !state.expiry.is_zero();
        !state.ended && (state.connection.is_some() || waits)
    }
}

fn message(event: &Event, topic: Arc<str>, manner: Option<&Manner>) -> Message {
    let empty = manner.is_some_and(|manner| manner.empty);
    Message {
        topic,
        payload: match empty {
            true => bytes::Bytes::new(),
            false => event.payload.bytes().clone(),
        },
        beside: manner.and_then(|manner| manner.beside.clone()),
        expires: manner.and_then(|manner| manner.expires),
        stored: true,
        ..Message::default()
    }
}

impl Ear for Device {
    fn number(&self) -> u64 {
        self.number
    }

    fn hear(&self, event: &Event, manner: Option<&Manner>) -> Option<Keeping> {
        if self.caller.has_ended() || !self.caller.may(Verb::Subscribe, &event.channel) {
            return None;
        }
        let local = manner.is_some_and(|manner| manner.from == self.number);
        let mut state = self.lock();
        let session = &state.session;
        let topic = self.topic_taken(event, |topic| session.takes(topic, local).is_some())?;
        let taken = session.takes(&topic, local)?;
        if manner
            .and_then(|manner| manner.expires)
            .is_some_and(|expires| expires <= unix_ms())
        {
            return None;
        }
        let message = Message {
            qos: taken.qos.min(manner.map_or(2, |manner| manner.qos)),
            retain: taken.as_published && manner.is_some_and(|manner| manner.retain),
            identifiers: taken.identifiers,
            ..message(event, topic, manner)
        };
        self.push(&mut state, message)
    }
}

//! What a server remembers of a client between two connections (MQTT 5.0 §4.1): its subscriptions,
//! the messages for it that wait or are not acknowledged, and those of QoS 2 that it sent.

mod received;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

pub use self::received::{Arrival, Received};
use super::packet::Ack;
use super::topic::matches;
use crate::channel::Beside;

/// Packet identifiers that there are.
const IDS: u64 = 65_535;

/// How many messages may wait for one client.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Messages.
    pub messages: usize,
    /// Bytes of them together.
    pub bytes: usize,
}

/// A subscription and its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The highest QoS at which it gets anything.
    pub qos: u8,
    /// Not what the same session published.
    pub no_local: bool,
    /// The retain flag as it was published.
    pub as_published: bool,
    /// Subscription Identifier.
    pub identifier: Option<u32>,
}

/// A message for the client.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Its place among those of QoS 1 and 2, from which its packet identifier follows; so that is
    /// the same after a restart.
    pub seq: u64,
    /// Where it goes.
    pub topic: Arc<str>,
    /// The body.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// The retain flag.
    pub retain: bool,
    /// Whatever else is said.
    pub beside: Option<Arc<Beside>>,
    /// The subscriptions that it is sent for.
    pub identifiers: Vec<u32>,
    /// When it is of no use any more, in Unix milliseconds.
    pub expires: Option<u64>,
    /// It is put on disk, until it is acknowledged. One of QoS 2 is not sent before it is there:
    /// after a crash nobody would release it, and a later one with the same packet identifier would
    /// pass for it.
    pub stored: bool,
    /// It is of no use after this connection.
    pub passing: bool,
}

impl Message {
    /// The packet identifier; 0 at QoS 0.
    pub fn id(&self) -> u16 {
        match self.qos {
            0 => 0,
            _ => (self.seq % IDS) as u16 + 1,
        }
    }

    /// Bytes that it takes in memory, all in all.
    fn size(&self) -> usize {
        const OVERHEAD: usize = 128;
        let beside = self.beside.as_ref().map_or(0, |beside| beside.size());
        let identifiers = self.identifiers.len() * size_of::<u32>();
        OVERHEAD + self.topic.len() + self.payload.len() + beside + identifiers
    }
}

/// How a message goes to a client, by all of its subscriptions that take the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The highest QoS among them.
    pub qos: u8,
    /// One of them wants the retain flag as it was published.
    pub as_published: bool,
    /// Theirs.
    pub identifiers: Vec<u32>,
}

#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    again: bool,
}

#[derive(Debug)]
struct Flying {
    message: Arc<Message>,
    /// QoS 2: it was received, and is to be released.
    released: bool,
}

/// What an acknowledgement of the client did.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled {
    /// The message is done with; its `seq` is there if it is on disk.
    Done(Option<u64>),
    /// It is to be released, once that is noted; its `seq` is there if it is on disk.
    Release(Option<u64>),
    /// There is no such message.
    Unknown,
}

/// A session. Dropping it forgets everything.
#[derive(Debug)]
pub struct Session {
    subscriptions: BTreeMap<Arc<str>, Subscription>,
    waiting: VecDeque<Waiting>,
    /// Bytes of those that wait.
    bytes: usize,
    flying: VecDeque<Flying>,
    /// Bytes of those that are not acknowledged.
    aloft: usize,
    /// What the client sent at QoS 2.
    pub received: Received,
    next: u64,
    /// Where those of QoS 2 begin of which it is not known whether they are on disk.
    unsure: u64,
    room: Room,
}

impl Session {
    /// Nothing is known of the client.
    pub fn new(room: Room) -> Session {
        Session {
            subscriptions: BTreeMap::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            flying: VecDeque::new(),
            aloft: 0,
            received: Received::default(),
            next: 0,
            unsure: 0,
            room,
        }
    }

    /// Adds a subscription, or replaces its options. Says whether it is new.
    pub fn subscribe(&mut self, filter: Arc<str>, subscription: Subscription) -> bool {
        self.subscriptions.insert(filter, subscription).is_none()
    }

    /// Ends a subscription. Says whether there was one.
    pub fn unsubscribe(&mut self, filter: &str) -> bool {
        self.subscriptions.remove(filter).is_some()
    }

    /// All of them.
    pub fn subscriptions(&self) -> &BTreeMap<Arc<str>, Subscription> {
        &self.subscriptions
    }

    /// How a message on this topic goes to the client; `None` if it does not. `local` says that
    /// the same session published it.
    pub fn takes(&self, topic: &str, local: bool) -> Option<Taken> {
        let mut taken: Option<Taken> = None;
        for (filter, subscription) in &self.subscriptions {
            if (local && subscription.no_local) || !matches(filter, topic) {
                continue;
            }
            let taken = taken.get_or_insert_default();
            taken.qos = taken.qos.max(subscription.qos);
            taken.as_published |= subscription.as_published;
            taken.identifiers.extend(subscription.identifier);
        }
        taken
    }

    /// Whether there is room for one more message.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.room.messages && self.bytes < self.room.bytes
    }

    /// Puts a message behind the others; says which `seq` it got. Whether there is room was asked
    /// before.
    pub fn push(&mut self, mut message: Message) -> u64 {
        if message.qos > 0 {
            message.seq = self.next;
            self.next += 1;
        }
        let seq = message.seq;
        self.bytes += message.size();
        self.waiting.push_back(Waiting {
            message: Arc::new(message),
            again: false,
        });
        seq
    }

    /// Takes up a message of an earlier process, in the order of their `seq`.
    pub fn restore(&mut self, message: Message, released: bool) {
        self.next = message.seq + 1;
        self.unsure = self.next;
        let message = Arc::new(message);
        if released {
            self.aloft += message.size();
            return self.flying.push_back(Flying { message, released });
        }
        self.bytes += message.size();
        let again = true;
        self.waiting.push_back(Waiting { message, again });
    }

    /// A message of QoS 2 is on disk, and so is what was put there before: it may be sent.
    pub fn kept(&mut self, seq: u64) {
        self.unsure = seq + 1;
    }

    /// A message of QoS 2 cannot be put on disk: it is left out. Says whether it was there.
    pub fn unkept(&mut self, seq: u64) -> bool {
        let mut waiting = self.waiting.iter();
        let at = waiting.position(|one| one.message.qos > 0 && one.message.seq == seq);
        let Some(one) = at.and_then(|at| self.waiting.remove(at)) else {
            return false;
        };
        self.bytes -= one.message.size();
        true
    }

    /// The next message to send, and whether it was sent before, if the client, which takes
    /// `window` unacknowledged ones at once, takes one more. No more are under way than may wait.
    /// Behind one that is not on disk yet the others wait too, so that they stay in order.
    /// What has expired is left out; `gone` is told of it.
    pub fn take(
        &mut self,
        window: u16,
        now: u64,
        mut gone: impl FnMut(&Message),
    ) -> Option<(Arc<Message>, bool)> {
        loop {
            let message = &self.waiting.front()?.message;
            let expired = message.expires.is_some_and(|expires| expires <= now);
            if !expired && message.stored && message.qos == 2 && message.seq >= self.unsure {
                return None;
            }
            if !expired && message.qos > 0 {
                let oldest = self.flying.iter().map(|one| one.message.seq).min();
                let span = oldest.map_or(0, |oldest| message.seq.saturating_sub(oldest));
                let crowded = self.flying.len() >= self.room.messages.min(window.into())
                    || (self.aloft + message.size() > self.room.bytes && !self.flying.is_empty());
                // No identifier is used twice at once.
                if crowded || span >= IDS {
                    return None;
                }
            }
            let Waiting { message, again } = self.waiting.pop_front()?;
            self.bytes -= message.size();
            if self.waiting.is_empty() && self.waiting.capacity() > 64 {
                self.waiting = VecDeque::new();
            }
            if expired {
                gone(&message);
                continue;
            }
            if message.qos > 0 {
                let message = message.clone();
                let released = false;
                self.aloft += message.size();
                self.flying.push_back(Flying { message, released });
            }
            return Some((message, again));
        }
    }

    /// Gives up on a message that was taken but cannot be sent.
    pub fn give_up(&mut self, message: &Message) {
        // Of QoS 0 none is under way, and their `seq` means nothing.
        if message.qos > 0 {
            self.land(|one| one.seq == message.seq);
        }
    }

    /// Takes out a message that is under way.
    fn land(&mut self, which: impl Fn(&Message) -> bool) {
        let at = self.flying.iter().position(|one| which(&one.message));
        if let Some(one) = at.and_then(|at| self.flying.remove(at)) {
            self.aloft -= one.message.size();
        }
    }

    /// The client acknowledged a message, or refused it.
    pub fn acknowledge(&mut self, ack: Ack, id: u16, refused: bool) -> Settled {
        let mut flying = self.flying.iter();
        let Some(at) = flying.position(|one| one.message.id() == id) else {
            return Settled::Unknown;
        };
        let one = &mut self.flying[at];
        let stored = one.message.stored.then_some(one.message.seq);
        match (ack, one.message.qos, one.released) {
            (Ack::Pubrec, 2, _) if !refused => {
                one.released = true;
                Settled::Release(stored)
            }
            (Ack::Puback, 1, _) | (Ack::Pubcomp, 2, true) | (Ack::Pubrec, 2, false) => {
                self.land(|one| one.id() == id);
                Settled::Done(stored)
            }
            _ => Settled::Unknown,
        }
    }

    /// A new connection begins: what was not acknowledged is sent again (§4.4), in its order.
    /// Returns the packet identifiers of what is to be released again.
    pub fn resume(&mut self) -> Vec<u16> {
        let (released, sent): (VecDeque<_>, VecDeque<_>) =
            self.flying.drain(..).partition(|one| one.released);
        self.flying = released;
        self.aloft = self.flying.iter().map(|one| one.message.size()).sum();
        for Flying { message, .. } in sent.into_iter().rev() {
            self.bytes += message.size();
            let again = true;
            self.waiting.push_front(Waiting { message, again });
        }
        // Of QoS 0, and of what passes, nothing outlives its connection.
        self.drop_unkept();
        self.flying.iter().map(|one| one.message.id()).collect()
    }

    /// The connection is gone: what nobody promised to deliver goes with it.
    pub fn drop_unkept(&mut self) {
        let bytes = &mut self.bytes;
        self.waiting.retain(|one| {
            let keeps = one.message.qos > 0 && !one.message.passing;
            if !keeps {
                *bytes -= one.message.size();
            }
            keeps
        });
    }

    /// How many messages wait, or are not acknowledged.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.flying.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

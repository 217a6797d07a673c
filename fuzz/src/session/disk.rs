//! What outlives callway, as the listener keeps it.

use std::collections::{BTreeMap, BTreeSet};

use callway::dialect::mqtt::{Message, Session};

#[derive(Default)]
pub(super) struct Disk {
    /// Messages that are not acknowledged, and whether they are to be released only.
    messages: BTreeMap<u64, (Message, bool)>,
    received: BTreeSet<u16>,
}

impl Disk {
    pub(super) fn keep(&mut self, message: Message) {
        let before = self.messages.insert(message.seq, (message, false));
        assert!(before.is_none(), "a place is taken twice");
    }

    pub(super) fn forget(&mut self, seq: u64) {
        let known = self.messages.remove(&seq);
        assert!(known.is_some(), "{seq} is forgotten twice");
    }

    pub(super) fn release(&mut self, seq: u64) {
        if let Some((_, released)) = self.messages.get_mut(&seq) {
            *released = true;
        }
    }

    /// A message of QoS 2 of the client may be acknowledged.
    pub(super) fn receive(&mut self, id: u16) {
        self.received.insert(id);
    }

    /// The client has released it.
    pub(super) fn complete(&mut self, id: u16) {
        self.received.remove(&id);
    }

    pub(super) fn has_received(&self, id: u16) -> bool {
        self.received.contains(&id)
    }

    /// Nothing is kept for nobody.
    pub(super) fn is_left_empty(&self) {
        assert!(self.messages.is_empty(), "a message stays on disk");
        assert!(self.received.is_empty(), "{:?} stay on disk", self.received);
    }

    pub(super) fn restore(&self, session: &mut Session) {
        for id in &self.received {
            session.received.settle(*id);
        }
        for (message, released) in self.messages.values() {
            session.restore(message.clone(), *released);
        }
    }
}

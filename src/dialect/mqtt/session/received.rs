//! Messages of QoS 2 that a client sent and has not released (MQTT 5.0 §4.3.3). Only what was
//! acknowledged may be taken for the same one again: what is still under way may yet fail.

use std::collections::BTreeMap;

/// By packet identifier; true once the message may be acknowledged.
#[derive(Debug, Default)]
pub struct Received(BTreeMap<u16, bool>);

/// What a message is that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A new one.
    First,
    /// The same one again, while it is not known what becomes of the first.
    Early,
    /// The same one again, which was acknowledged.
    Again,
}

impl Received {
    /// A message has come.
    pub fn arrive(&mut self, id: u16) -> Arrival {
        match self.0.get(&id) {
            None => {
                self.0.insert(id, false);
                Arrival::First
            }
            Some(false) => Arrival::Early,
            Some(true) => Arrival::Again,
        }
    }

    /// It may be acknowledged.
    pub fn settle(&mut self, id: u16) {
        self.0.insert(id, true);
    }

    /// Whether it may be; `None` if there is no such message, or no more.
    pub fn is_settled(&self, id: u16) -> Option<bool> {
        self.0.get(&id).copied()
    }

    /// The client released it, or it was refused.
    pub fn forget(&mut self, id: u16) {
        self.0.remove(&id);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

//! The records of one queue in their order: which is next, and which have to wait.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::entry::{Entry, Place};
use super::lanes::Lanes;
use super::tally::Tally;

/// Records that are passed over in one go, so that nobody is kept from the lock for long.
const STRIDE: usize = 1024;
/// So many may be gone and keep their place whatever the length.
const LEFTOVERS: usize = 64;
/// Room that is never given back.
const ROOM: usize = 4096;

/// A queue. Dropped by nobody: there are as many as buses, and one.
pub(super) struct Queue {
    pub name: Arc<str>,
    /// Whoever waits for the next record hears here that there may be one; told by whoever changed
    /// something, once the lock is free.
    pub more: Arc<Notify>,
    pub tally: Tally,
    /// What the records take that are taken but not on disk yet.
    pub unwritten: u64,
    /// Whoever remembers what is in it hears here that it was purged; called under the lock.
    pub purged: Option<Box<dyn Fn() + Send + Sync>>,
    /// Sorted by id.
    entries: VecDeque<Entry>,
    gone: usize,
    bytes: u64,
    /// Records from here on were never handed out nor passed over.
    cursor: u64,
    lanes: Lanes,
}

/// The answer to who is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// This one, after so many attempts.
    Entry { id: u64, attempts: u16 },
    /// Not known yet: there are many to pass over.
    GoOn,
    /// Nobody, until something comes or a lane is due.
    Nobody(Option<Instant>),
}

impl Queue {
    /// An empty one.
    pub(super) fn new(name: Arc<str>) -> Queue {
        Queue {
            name,
            more: Arc::default(),
            tally: Tally::default(),
            unwritten: 0,
            purged: None,
            entries: VecDeque::new(),
            gone: 0,
            bytes: 0,
            cursor: 0,
            lanes: Lanes::default(),
        }
    }

    /// Adds a record; its id is greater than all before.
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += u64::from(entry.place.length);
        self.entries.push_back(entry);
    }

    /// Hands out the next.
    pub(super) fn take(&mut self, now: Instant) -> Taken {
        self.lanes.wake(now);
        while let Some(id) = self.lanes.take() {
            // What is gone meanwhile is not taken out of its lane.
            if let Some(entry) = self.find(id) {
                return hand_out(entry);
            }
        }
        let from = self.entries.partition_point(|entry| entry.id < self.cursor);
        for entry in self.entries.range_mut(from..).take(STRIDE) {
            self.cursor = entry.id + 1;
            if entry.gone {
                continue;
            }
            if self.lanes.waits(entry.key()) {
                self.lanes.put(entry.key(), entry.id);
                continue;
            }
            return hand_out(entry);
        }
        if from + STRIDE < self.entries.len() {
            return Taken::GoOn;
        }
        Taken::Nobody(self.lanes.next_due())
    }

    /// Takes back what was handed out; its lane waits until then.
    pub(super) fn give_back(&mut self, id: u64, due: Option<Instant>) {
        let Some(key) = self.find(id).map(|entry| entry.key()) else {
            return;
        };
        self.lanes.put(key, id);
        if let Some(due) = due {
            self.lanes.wait(key, due);
        }
    }

    /// Lets no lane wait any longer.
    pub(super) fn retry_now(&mut self) {
        self.lanes.wake_all();
    }

    /// A record waits no more; says where it lies.
    pub(super) fn remove(&mut self, id: u64) -> Option<Place> {
        let entry = self.find(id)?;
        entry.gone = true;
        let place = entry.place;
        self.bytes -= u64::from(place.length);
        self.gone += 1;
        self.tidy();
        Some(place)
    }

    /// Takes out everything, also what is handed out.
    pub(super) fn clear(&mut self) -> Vec<Entry> {
        self.lanes = Lanes::default();
        self.bytes = 0;
        self.gone = 0;
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().filter(|entry| !entry.gone).collect()
    }

    /// A record that waits.
    pub(super) fn find(&mut self, id: u64) -> Option<&mut Entry> {
        let at = self.entries.binary_search_by_key(&id, |entry| entry.id);
        let entry = &mut self.entries[at.ok()?];
        (!entry.gone).then_some(entry)
    }

    /// Everything that waits or is handed out.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.gone)
    }

    /// How many those are.
    pub(super) fn messages(&self) -> usize {
        self.entries.len() - self.gone
    }

    /// What they take on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the first of them was accepted, in seconds since 1970.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.entries.front().map(|entry| entry.seconds)
    }

    /// Keeps memory in proportion to what waits, at a cost in proportion to what went.
    fn tidy(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.gone) {
            self.entries.pop_front();
            self.gone -= 1;
        }
        if self.gone > LEFTOVERS.max(self.entries.len() / 2) {
            self.entries.retain(|entry| !entry.gone);
            self.gone = 0;
        }
        if self.entries.capacity() > ROOM.max(4 * self.entries.len()) {
            self.entries.shrink_to(ROOM.max(2 * self.entries.len()));
        }
    }
}

fn hand_out(entry: &mut Entry) -> Taken {
    let attempts = entry.attempts;
    entry.attempts = attempts.saturating_add(1);
    Taken::Entry {
        id: entry.id,
        attempts,
    }
}

#[cfg(test)]
mod tests;

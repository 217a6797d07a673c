//! The lanes of a queue that wait, and what was passed over or given back in each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::Instant;

use super::entry::Key;

/// Only lanes that wait or hold something are known.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: HashMap<Key, Lane>,
    /// The first of each lane that does not wait.
    ready: BTreeMap<u64, Key>,
    /// The lanes that wait, and until when.
    due: BTreeSet<(Instant, Key)>,
}

#[derive(Default)]
struct Lane {
    due: Option<Instant>,
    behind: BTreeSet<u64>,
}

impl Lanes {
    /// Whether nothing of this lane may be handed out now.
    pub(super) fn waits(&self, key: Key) -> bool {
        self.lanes.get(&key).is_some_and(|lane| lane.due.is_some())
    }

    /// Something of this lane was passed over, or is given back.
    pub(super) fn put(&mut self, key: Key, id: u64) {
        let lane = self.lanes.entry(key).or_default();
        let first = lane.behind.first().copied();
        lane.behind.insert(id);
        if lane.due.is_some() || first.is_some_and(|first| first <= id) {
            return;
        }
        if let Some(first) = first {
            self.ready.remove(&first);
        }
        self.ready.insert(id, key);
    }

    /// Lets a lane wait; one that waits longer already goes on.
    pub(super) fn wait(&mut self, key: Key, due: Instant) {
        let lane = self.lanes.entry(key).or_default();
        match lane.due {
            Some(later) if later >= due => return,
            Some(sooner) => {
                self.due.remove(&(sooner, key));
            }
            None => {
                if let Some(first) = lane.behind.first() {
                    self.ready.remove(first);
                }
            }
        }
        lane.due = Some(due);
        self.due.insert((due, key));
    }

    /// Ends the waits that are over.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(&(due, key)) = self.due.first()
            && due <= now
        {
            self.due.pop_first();
            self.open(key);
        }
    }

    /// Ends all waits.
    pub(super) fn wake_all(&mut self) {
        for (_due, key) in std::mem::take(&mut self.due) {
            self.open(key);
        }
    }

    /// The lane's wait is over.
    fn open(&mut self, key: Key) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        lane.due = None;
        self.show_first(key);
    }

    /// What comes first of all that may be handed out.
    pub(super) fn take(&mut self) -> Option<u64> {
        let (id, key) = self.ready.pop_first()?;
        self.lanes.get_mut(&key)?.behind.remove(&id);
        self.show_first(key);
        Some(id)
    }

    /// Of a lane that does not wait and of which nothing is ready yet.
    fn show_first(&mut self, key: Key) {
        let first = self.lanes.get(&key).and_then(|lane| lane.behind.first());
        match first {
            Some(&first) => {
                self.ready.insert(first, key);
            }
            None => {
                self.lanes.remove(&key);
            }
        }
    }

    /// When the next wait is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(due, _key)| due)
    }
}

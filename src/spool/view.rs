//! What can be seen of the spool: how much waits, and what.

use std::sync::Arc;

use bytes::Bytes;

use super::{Lane, Spool, Tally};

/// What the records of one list may hold together, but for the last.
const LIST_BYTES: usize = 16 * 1024 * 1024;

/// How much waits in a queue, what is just being delivered included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Its name.
    pub queue: Arc<str>,
    /// Records.
    pub messages: usize,
    /// What they take on disk.
    pub bytes: u64,
    /// When the oldest was accepted, in milliseconds since 1970, rounded down to seconds.
    pub oldest: Option<u64>,
    /// What became of all that came, as of the same moment.
    pub tally: Tally,
}

/// A record that waits.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its place in the order of all records.
    pub id: u64,
    /// Where it waits.
    pub queue: Arc<str>,
    /// What it is in order with.
    pub lane: Lane,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted: u64,
    /// What it takes on disk.
    pub bytes: u32,
    /// How often it was handed out by this process.
    pub attempts: u32,
    /// What was appended.
    pub body: Bytes,
}

impl Spool {
    /// How much waits in each queue that was ever used.
    pub fn stats(&self) -> Vec<QueueStats> {
        let state = self.shared().state();
        let stats = state.queues.iter().map(|queue| QueueStats {
            queue: queue.name.clone(),
            messages: queue.messages(),
            bytes: queue.bytes(),
            oldest: queue.oldest().map(|seconds| u64::from(seconds) * 1000),
            tally: queue.tally,
        });
        stats.collect()
    }

    /// The first records of this queue, or of all, at most so many. Each is read from disk when it
    /// is asked for, so that no more than one has to be held in memory.
    pub fn waiting(&self, queue: Option<&str>, limit: usize) -> impl Iterator<Item = Listed> {
        let mut found = Vec::new();
        let state = self.shared().state();
        for place in state.places(queue) {
            let queue = &state.queues[place];
            found.extend(queue.iter().take(limit).map(|entry| {
                let (length, attempts) = (entry.place.length, entry.attempts);
                (entry.id, place, queue.name.clone(), length, attempts)
            }));
        }
        drop(state);
        found.sort_unstable_by_key(|(id, ..)| *id);
        found.truncate(limit);
        found.into_iter().filter_map(|found| {
            let (id, place, queue, bytes, attempts) = found;
            // What is delivered meanwhile, or cannot be read, is not shown.
            let body = self.shared().body(place, id).ok()??;
            Some(Listed {
                id,
                queue,
                lane: body.lane,
                accepted: body.accepted,
                bytes,
                attempts: attempts.into(),
                body: body.bytes,
            })
        })
    }

    /// As [`Spool::waiting`], all at once: no more once they hold 16 MiB together.
    pub fn list(&self, queue: Option<&str>, limit: usize) -> Vec<Listed> {
        let mut room = LIST_BYTES;
        let fits = |one: &Listed| {
            let goes_on = room > 0;
            room = room.saturating_sub(one.body.len());
            goes_on
        };
        self.waiting(queue, limit).take_while(fits).collect()
    }
}

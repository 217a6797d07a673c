//! Who listens right now: nothing is remembered of a channel that nobody listens to.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::mailbox::Seat;
use super::{Event, Placed, Position};

/// Channels with different names seldom wait for each other.
const SHARDS: usize = 64;

/// The channels that somebody listens to.
pub(super) struct Live {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Of events without history. New with each start, because what happened between is unknown.
    epoch: u64,
}

#[derive(Default)]
struct Shard {
    channels: HashMap<Arc<str>, Listeners>,
    /// How many events without history there were, on all channels of the shard together.
    seq: u64,
}

struct Listeners {
    seats: Vec<Arc<Seat>>,
    /// The last event without history; or where the shard was when the first listener came.
    last: u64,
}

/// Where a channel without history stands for somebody who joined it.
pub(super) struct Standing {
    /// Now.
    pub(super) position: Position,
    /// The last event that is known of: nothing is missing from there on.
    last: u64,
}

impl Standing {
    /// Whether surely nothing happened since.
    pub(super) fn nothing_since(&self, since: Position) -> bool {
        since.epoch == self.position.epoch && (self.last..=self.position.seq).contains(&since.seq)
    }
}

impl Live {
    pub(super) fn new(epoch: u64) -> Live {
        Live {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            epoch,
        }
    }

    fn shard(&self, channel: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(channel) as usize;
        self.shards[hash % SHARDS].lock()
    }

    /// Adds a listener; `has_history` says who numbers the channel's events.
    pub(super) fn join(&self, channel: &Arc<str>, seat: &Arc<Seat>) -> Standing {
        let mut shard = self.shard(channel);
        let seq = shard.seq;
        let listeners = shard
            .channels
            .entry(channel.clone())
            .or_insert_with(|| Listeners {
                seats: Vec::new(),
                last: seq,
            });
        listeners.seats.push(seat.clone());
        Standing {
            position: self.position(seq),
            last: listeners.last,
        }
    }

    /// Takes a listener out, and the channel with the last one.
    pub(super) fn leave(&self, channel: &str, seat: &Arc<Seat>) {
        let mut shard = self.shard(channel);
        let Some(listeners) = shard.channels.get_mut(channel) else {
            return;
        };
        let seats = &mut listeners.seats;
        if let Some(at) = seats.iter().position(|other| Arc::ptr_eq(other, seat)) {
            seats.swap_remove(at);
        }
        if seats.is_empty() {
            shard.channels.remove(channel);
        }
    }

    /// Gives an event without history its place, and to those who listen.
    pub(super) fn place(&self, event: Event) -> Position {
        let mut shard = self.shard(&event.channel);
        shard.seq += 1;
        let position = self.position(shard.seq);
        if let Some(listeners) = shard.channels.get_mut(&event.channel) {
            listeners.last = position.seq;
            tell(&listeners.seats, &Arc::new(Placed::new(event, position)));
        }
        position
    }

    /// Gives an event that has its place to those who listen.
    pub(super) fn tell(&self, event: Event, position: Position) {
        let shard = self.shard(&event.channel);
        if let Some(listeners) = shard.channels.get(&event.channel) {
            tell(&listeners.seats, &Arc::new(Placed::new(event, position)));
        }
    }

    /// Where a channel without history stands.
    pub(super) fn standing(&self, channel: &str) -> Position {
        self.position(self.shard(channel).seq)
    }

    fn position(&self, seq: u64) -> Position {
        Position {
            epoch: self.epoch,
            seq,
        }
    }

    /// How many channels somebody listens to.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().channels.len()).sum()
    }
}

fn tell(seats: &[Arc<Seat>], placed: &Arc<Placed>) {
    for seat in seats {
        seat.push(placed);
    }
}

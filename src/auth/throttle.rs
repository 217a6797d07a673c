//! Slows those who guess tokens, over all transports together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Digest;
use crate::call::Via;

/// How many sources and tokens are remembered. When it is full, the oldest half is forgotten.
const REMEMBERED: usize = 20_000;
/// The longest that one refusal is held back.
const LONGEST: Duration = Duration::from_secs(3);

/// Where a credential came from, as far as bad tries are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A client that connected to a listener, by WebSocket or HTTP.
    Peer {
        /// Its address, or the one that a trusted proxy told.
        address: IpAddr,
        /// The transport, for metrics only.
        via: Via,
    },
    /// Everyone behind one bus, which tells callway no addresses.
    Bus(Arc<str>),
}

impl Source {
    /// Everyone behind the bus of this name.
    pub fn bus(name: impl Into<Arc<str>>) -> Source {
        Source::Bus(name.into())
    }

    /// The label in metrics.
    pub fn via(&self) -> &'static str {
        match self {
            Source::Peer { via, .. } => via.as_str(),
            Source::Bus(_) => "bus",
        }
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Bus(Arc<str>),
    Token(Digest),
}

struct Tries {
    count: u32,
    since: Instant,
}

/// Counts refused tries in windows of one period.
pub(super) struct Throttle {
    allowed: u32,
    period: Duration,
    tries: Mutex<HashMap<Key, Tries>>,
}

impl Throttle {
    pub(super) fn new(allowed: u32, period: Duration) -> Throttle {
        Throttle {
            allowed,
            period,
            tries: Mutex::new(HashMap::new()),
        }
    }

    /// Counts a refused try; says how long to hold back the refusal.
    pub(super) fn refused(&self, source: &Source, token: &Digest) -> Option<Duration> {
        let by_source = match source {
            Source::Peer { address, .. } => Key::Address(*address),
            Source::Bus(name) => Key::Bus(name.clone()),
        };
        let mut tries = self.tries.lock();
        if tries.len() >= REMEMBERED {
            self.forget(&mut tries);
        }
        let now = Instant::now();
        let over = self.count(&mut tries, by_source, now).max(self.count(
            &mut tries,
            Key::Token(*token),
            now,
        ));
        // 100 ms for the first try too many, doubling.
        (over > 0).then(|| (Duration::from_millis(50) * 2u32.pow(over.min(10))).min(LONGEST))
    }

    /// How many tries this one is over what is allowed.
    fn count(&self, tries: &mut HashMap<Key, Tries>, key: Key, now: Instant) -> u32 {
        let entry = tries.entry(key).or_insert(Tries {
            count: 0,
            since: now,
        });
        if now - entry.since > self.period {
            *entry = Tries {
                count: 0,
                since: now,
            };
        }
        entry.count = entry.count.saturating_add(1);
        entry.count.saturating_sub(self.allowed)
    }

    fn forget(&self, tries: &mut HashMap<Key, Tries>) {
        let now = Instant::now();
        tries.retain(|_, entry| now - entry.since <= self.period);
        if tries.len() >= REMEMBERED {
            let mut starts: Vec<_> = tries.values().map(|entry| entry.since).collect();
            starts.sort_unstable();
            let middle = starts[starts.len() / 2];
            tries.retain(|_, entry| entry.since > middle);
        }
    }
}

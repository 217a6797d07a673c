//! The last event of channels that one is kept for (MQTT's retained messages).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{Event, Hub, Manner};
use crate::auth::{Caller, Verb};
use crate::call::unix_ms;
use crate::router::Pattern;

/// Channels, and bytes of their payloads and properties, that are remembered; then those go that were set first.
const MOST: usize = 10_000;
const ROOM: usize = 16 * 1024 * 1024;

/// The last event of a channel.
#[derive(Clone, Debug)]
pub struct Last {
    /// The event.
    pub event: Event,
    /// How an MQTT client published it; a bus says nothing.
    pub manner: Option<Manner>,
    /// The client: what it left ends with its right to leave it.
    by: Option<Caller>,
}

impl Last {
    /// Bytes that it takes, beside what every one does.
    fn size(&self) -> usize {
        let beside = self
            .manner
            .as_ref()
            .and_then(|manner| manner.beside.as_ref());
        self.event.payload.len() + beside.map_or(0, |beside| beside.size())
    }

    /// Whether it is to be told: neither expired, nor left by one who may not any more.
    fn stands(&self, now: u64) -> bool {
        let expires = self.manner.as_ref().and_then(|manner| manner.expires);
        let expired = expires.is_some_and(|expires| expires <= now);
        let revoked = self.by.as_ref().is_some_and(Caller::has_ended);
        !expired && !revoked
    }
}

/// The last event of each channel for which a retained message came.
#[derive(Default)]
pub(super) struct Lasts {
    /// Whether there is any: most installations have none, and ask with each event.
    any: AtomicBool,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    events: HashMap<Arc<str>, (u64, Last)>,
    /// By when they were set.
    order: BTreeMap<u64, Arc<str>>,
    next: u64,
    bytes: usize,
}

impl Lasts {
    /// A retained message came; an empty one of a client makes the last one forgotten. Says whether
    /// others had to go.
    pub(super) fn set(&self, event: Event, by: Option<(Manner, Caller)>) -> bool {
        let mut inside = self.inside.lock();
        if by.as_ref().is_some_and(|(manner, _)| manner.empty) {
            inside.forget(&event.channel);
            return false;
        }
        self.any.store(true, Ordering::Relaxed);
        let (manner, by) = by.unzip();
        inside.put(Last { event, manner, by });
        let mut crowded = false;
        while inside.events.len() > MOST || (inside.bytes > ROOM && inside.events.len() > 1) {
            crowded = true;
            let Some((_, channel)) = inside.order.pop_first() else {
                break;
            };
            inside.forget(&channel);
        }
        crowded
    }

    /// An event was published: it takes the place of the retained one, if there is one.
    pub(super) fn refresh(&self, event: &Event) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut inside = self.inside.lock();
        if inside.events.contains_key(&event.channel) {
            let (manner, by) = (None, None);
            inside.put(Last {
                event: event.clone(),
                manner,
                by,
            });
        }
    }

    pub(super) fn get(&self, channel: &str) -> Option<Event> {
        let inside = self.inside.lock();
        let (_, last) = inside.events.get(channel)?;
        last.stands(unix_ms()).then(|| last.event.clone())
    }

    /// Those of channels of a pattern, in the order in which they were set.
    fn of(&self, pattern: &Pattern) -> Vec<Last> {
        if !self.any.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let (inside, now) = (self.inside.lock(), unix_ms());
        let channels = inside.order.values();
        let lasts = channels
            .filter(|channel| pattern.matches(channel))
            .filter_map(|channel| Some(&inside.events.get(channel)?.1));
        lasts.filter(|last| last.stands(now)).cloned().collect()
    }
}

impl Hub {
    /// The last events of the channels of a pattern that a caller may subscribe.
    pub fn lasts(&self, caller: &Caller, pattern: &Pattern) -> Vec<Last> {
        let mut lasts = self.lasts.of(pattern);
        lasts.retain(|last| caller.may(Verb::Subscribe, &last.event.channel));
        lasts
    }
}

impl Inside {
    fn put(&mut self, mut last: Last) {
        let event = &mut last.event;
        event.payload = event.payload.detached();
        let channel = event.channel.clone();
        self.forget(&channel);
        self.next += 1;
        self.bytes += last.size();
        self.order.insert(self.next, channel.clone());
        self.events.insert(channel, (self.next, last));
    }

    fn forget(&mut self, channel: &str) {
        if let Some((number, last)) = self.events.remove(channel) {
            self.order.remove(&number);
            self.bytes -= last.size();
        }
    }
}

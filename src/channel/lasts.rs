//! The last event of channels that one is kept for (MQTT's retained messages). What clients left is
//! on disk as well; what a broker keeps it tells again.

mod kept;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{Event, Hub, Keeping, Manner};
use crate::auth::{Caller, Verb};
use crate::call::unix_ms;
use crate::observe::Metrics;
use crate::router::Pattern;
use crate::store::Store;

/// Channels, and bytes of their events, that are remembered; then those go that were set first.
const MOST: usize = 10_000;
const ROOM: usize = 16 * 1024 * 1024;

/// The last event of a channel.
#[derive(Clone, Debug)]
pub struct Last {
    /// The event.
    pub event: Event,
    /// How an MQTT client published it; others say nothing.
    pub manner: Option<Manner>,
    /// The client: what it left ends with its right to leave it.
    by: Option<Caller>,
    /// It is on disk.
    kept: bool,
}

impl Last {
    /// Whether it is to be told: neither expired, nor left by one who may not any more.
    fn stands(&self, now: u64) -> bool {
        let expires = self.manner.as_ref().and_then(|manner| manner.expires);
        let expired = expires.is_some_and(|expires| expires <= now);
        let revoked = self.by.as_ref().is_some_and(Caller::has_ended);
        !expired && !revoked
    }

    /// Bytes that it takes, beside what every one does.
    fn size(&self) -> usize {
        let beside = self
            .manner
            .as_ref()
            .and_then(|manner| manner.beside.as_ref());
        let beside = beside.map_or(0, |beside| beside.size());
        self.event.channel.len() + self.event.payload.len() + beside
    }
}

/// The last event of each channel for which a retained message came.
pub(super) struct Lasts {
    /// Whether there is any: most installations have none, and ask with each event.
    any: AtomicBool,
    inside: Mutex<Inside>,
    store: Store,
    metrics: Arc<Metrics>,
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
    /// None is known yet.
    pub(super) fn new(store: &Store, metrics: &Arc<Metrics>) -> Lasts {
        Lasts {
            any: AtomicBool::new(false),
            inside: Mutex::default(),
            store: store.clone(),
            metrics: metrics.clone(),
        }
    }

    /// A broker told what it keeps.
    pub(super) fn told(&self, event: Event) {
        let last = Last {
            event,
            manner: None,
            by: None,
            kept: false,
        };
        self.put(&mut self.inside.lock(), last);
    }

    /// A client left a retained message; an empty one makes the last one forgotten. Done once that
    /// is on disk.
    pub(super) fn leave(&self, event: &Event, manner: &Manner, by: &Caller) -> Keeping {
        let mut inside = self.inside.lock();
        if manner.empty {
            inside.take(&event.channel);
            return self.forget(&event.channel);
        }
        let last = Last {
            event: event.clone(),
            manner: Some(manner.clone()),
            by: Some(by.clone()),
            kept: true,
        };
        let keeping = self.keep(&last);
        self.put(&mut inside, last);
        keeping
    }

    /// An event was published, by a client or a bus: it takes the place of the retained one, if
    /// there is one; and on disk, if that is there.
    pub(super) fn refresh(&self, event: &Event, by: Option<&Caller>) -> Option<Keeping> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut inside = self.inside.lock();
        let (_, before) = inside.events.get(&event.channel)?;
        if !before.stands(event.time) {
            return None;
        }
        let last = Last {
            event: event.clone(),
            manner: None,
            by: by.cloned(),
            kept: before.kept,
        };
        let keeping = last.kept.then(|| self.keep(&last));
        self.put(&mut inside, last);
        keeping
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

    /// Forgets those that have expired, or whose clients may not have left them any more.
    pub(super) fn sweep(&self) {
        let (mut inside, now) = (self.inside.lock(), unix_ms());
        let lasts = inside.events.values().map(|(_, last)| last);
        let over: Vec<_> = lasts
            .filter(|last| !last.stands(now))
            .map(|last| last.event.channel.clone())
            .collect();
        for channel in over {
            self.drop_kept(inside.take(&channel));
        }
    }

    /// Puts it in the place of the one before. The caller has it kept on disk, where it is to be.
    fn put(&self, inside: &mut Inside, last: Last) {
        self.any.store(true, Ordering::Relaxed);
        let kept = last.kept;
        let before = inside.put(last);
        self.drop_kept(before.filter(|_| !kept));
        while inside.is_crowded() {
            self.metrics.limit_reached("last_events");
            self.drop_kept(inside.take_first());
        }
    }

    /// What was taken out goes from the disk too. Nobody waits for that.
    fn drop_kept(&self, taken: Option<Last>) {
        if let Some(last) = taken.filter(|last| last.kept) {
            drop(self.forget(&last.event.channel));
        }
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
    fn put(&mut self, mut last: Last) -> Option<Last> {
        let event = &mut last.event;
        event.payload = event.payload.detached();
        let channel = event.channel.clone();
        let before = self.take(&channel);
        self.next += 1;
        self.bytes += last.size();
        self.order.insert(self.next, channel.clone());
        self.events.insert(channel, (self.next, last));
        before
    }

    fn take(&mut self, channel: &str) -> Option<Last> {
        let (number, last) = self.events.remove(channel)?;
        self.order.remove(&number);
        self.bytes -= last.size();
        Some(last)
    }

    fn take_first(&mut self) -> Option<Last> {
        let channel = self.order.values().next()?.clone();
        self.take(&channel)
    }

    fn is_crowded(&self) -> bool {
        self.events.len() > MOST || (self.bytes > ROOM && self.events.len() > 1)
    }
}

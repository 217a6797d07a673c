//! The last event of channels that a broker keeps one for (MQTT's retained messages).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::Event;

/// Channels, and bytes of their payloads, that are remembered; then those go that were set first.
const MOST: usize = 10_000;
const ROOM: usize = 16 * 1024 * 1024;

/// The last event of each channel for which a retained message came.
#[derive(Default)]
pub(super) struct Lasts {
    /// Whether there is any: most installations have none, and ask with each event.
    any: AtomicBool,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    events: HashMap<Arc<str>, (u64, Event)>,
    /// By when they were set.
    order: BTreeMap<u64, Arc<str>>,
    next: u64,
    bytes: usize,
}

impl Lasts {
    /// A retained message came. Says whether others had to go.
    pub(super) fn set(&self, event: Event) -> bool {
        let mut inside = self.inside.lock();
        self.any.store(true, Ordering::Relaxed);
        inside.put(event);
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
            inside.put(event.clone());
        }
    }

    pub(super) fn get(&self, channel: &str) -> Option<Event> {
        let inside = self.inside.lock();
        inside.events.get(channel).map(|(_, event)| event.clone())
    }
}

impl Inside {
    fn put(&mut self, mut event: Event) {
        event.payload = event.payload.detached();
        self.forget(&event.channel);
        self.next += 1;
        self.bytes += event.payload.len();
        self.order.insert(self.next, event.channel.clone());
        self.events
            .insert(event.channel.clone(), (self.next, event));
    }

    fn forget(&mut self, channel: &str) {
        if let Some((number, event)) = self.events.remove(channel) {
            self.order.remove(&number);
            self.bytes -= event.payload.len();
        }
    }
}

//! Who listens to many channels at once, by pattern. The cost of telling them depends on the
//! channel's name and on who listens to it, not on how many channels or patterns there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use tokio::sync::oneshot;

use super::{Event, Manner};
use crate::call::Fault;
use crate::router::{Pattern, Trie};

/// Hears of every accepted event of the channels that it listens to.
pub trait Ear: Send + Sync {
    /// Tells it from others.
    fn number(&self) -> u64;

    /// An event, in the order of publishing; must not block. Where the event may be acknowledged
    /// only once this listener has it on disk, what is returned says when.
    fn hear(&self, event: &Event, manner: Option<&Manner>) -> Option<Keeping>;
}

/// Done once a listener has an event on disk.
pub type Keeping = oneshot::Receiver<Result<(), Fault>>;

/// What waits for a disk that cannot be asked.
pub fn unkept(fault: Fault) -> Keeping {
    let (tell, told) = oneshot::channel();
    tell.send(Err(fault)).unwrap_or_default();
    told
}

/// All of them.
#[derive(Default)]
pub(super) struct Ears {
    /// Patterns of all: most installations have none, and ask with each event.
    count: AtomicUsize,
    patterns: RwLock<Trie<Vec<Arc<dyn Ear>>>>,
}

impl Ears {
    /// Adds one for the channels of a pattern; the same one once.
    pub(super) fn add(&self, pattern: &Pattern, ear: &Arc<dyn Ear>) {
        let mut patterns = self.patterns.write();
        let ears = patterns.get_or_default(pattern);
        if !ears.iter().any(|other| other.number() == ear.number()) {
            // Most patterns have one, and are as many as there are devices.
            ears.reserve_exact(usize::from(ears.is_empty()));
            ears.push(ear.clone());
            self.count.fetch_add(1, Ordering::Release);
        }
    }

    /// Takes one out, and the pattern with the last one.
    pub(super) fn remove(&self, pattern: &Pattern, number: u64) {
        let mut patterns = self.patterns.write();
        let Some(ears) = patterns.get_mut(pattern) else {
            return;
        };
        if let Some(at) = ears.iter().position(|ear| ear.number() == number) {
            ears.swap_remove(at);
            self.count.fetch_sub(1, Ordering::Release);
        }
        if ears.is_empty() {
            patterns.remove(pattern);
        }
    }

    /// Tells those who listen, each once.
    pub(super) fn tell(&self, event: &Event, manner: Option<&Manner>) -> Vec<Keeping> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut told: Vec<Arc<dyn Ear>> = Vec::new();
        self.patterns.read().visit(&event.channel, &mut |ears| {
            told.extend(ears.iter().cloned());
            false
        });
        if told.len() > 1 {
            told.sort_unstable_by_key(|ear| ear.number());
            told.dedup_by_key(|ear| ear.number());
        }
        let keeping = told.iter().filter_map(|ear| ear.hear(event, manner));
        keeping.collect()
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::call::{Payload, ordered_id};

    struct Listener(u64, Mutex<Vec<String>>);

    impl Ear for Listener {
        fn number(&self) -> u64 {
            self.0
        }

        fn hear(&self, event: &Event, _manner: Option<&Manner>) -> Option<Keeping> {
            self.1.lock().push(event.channel.to_string());
            None
        }
    }

    #[test]
    fn each_hears_once_of_what_any_of_its_patterns_takes() {
        let ears = Ears::default();
        let listener = Arc::new(Listener(7, Mutex::default()));
        let ear: Arc<dyn Ear> = listener.clone();
        let pattern = |text| Pattern::parse(text).unwrap();
        for text in ["a/{x}", "{all...}", "a/b", "a/b"] {
            ears.add(&pattern(text), &ear);
        }
        let publish = |channel: &str| {
            let event = Event {
                id: ordered_id(),
                channel: channel.into(),
                time: 0,
                payload: Payload::null(),
                hops: 0,
                traceparent: None,
            };
            ears.tell(&event, None)
        };
        publish("a/b");
        publish("z");
        ears.remove(&pattern("{all...}"), 7);
        publish("z");
        ears.remove(&pattern("a/{x}"), 7);
        publish("a/b");
        ears.remove(&pattern("a/b"), 7);
        publish("a/b");
        assert_eq!(*listener.1.lock(), ["a/b", "z", "a/b"]);
        assert!(ears.patterns.read().is_empty());
        assert_eq!(ears.count.load(Ordering::Relaxed), 0);
    }
}

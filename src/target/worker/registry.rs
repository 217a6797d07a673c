//! Who offers what right now, and how busy each one is.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::Ask;
use super::seat::Mail;
use crate::router::{Pattern, Trie};

/// Pieces of mail that may wait for one worker's connection to take them. A worker whose mail is
/// full counts as busy; a cancellation that finds no room is left out, the late answer is dropped.
const MAIL: usize = 1024;

/// The registry of workers.
#[derive(Default)]
pub struct Workers {
    registry: Mutex<Registry>,
    offered: Notify,
}

#[derive(Default)]
struct Registry {
    /// By pattern, whoever offered it.
    groups: Trie<Group>,
    workers: HashMap<u64, Worker>,
    /// The source of ids, numbers and turns.
    counter: u64,
}

struct Worker {
    mail: mpsc::Sender<Mail>,
    methods: Vec<Pattern>,
    concurrency: usize,
    busy: usize,
    /// When it was asked last; of those equally busy, the one that rested longest is next.
    turn: u64,
}

/// Everyone who offered the same pattern.
#[derive(Default)]
struct Group {
    /// Those with a free place, the least busy first, so that none is searched for.
    free: BTreeSet<Rank>,
    members: usize,
}

/// How busy, when asked last, which worker.
type Rank = (usize, u64, u64);

/// Why nobody was found.
pub(super) struct NoWorker {
    /// There are some, but without a free place.
    pub(super) all_busy: bool,
}

impl Workers {
    /// A new worker without an offer.
    pub(super) fn join(&self) -> (u64, mpsc::Receiver<Mail>) {
        let (sender, mail) = mpsc::channel(MAIL);
        let mut registry = self.registry.lock();
        let id = registry.count();
        let worker = Worker {
            mail: sender,
            methods: Vec::new(),
            concurrency: 0,
            busy: 0,
            turn: 0,
        };
        registry.workers.insert(id, worker);
        (id, mail)
    }

    /// Replaces a worker's offer.
    pub(super) fn offer(&self, id: u64, mut methods: Vec<Pattern>, concurrency: usize) {
        // Equal patterns are one group, in which a worker must stand once.
        let mut distinct: Vec<Pattern> = Vec::with_capacity(methods.len());
        for method in methods.drain(..) {
            if !distinct.contains(&method) {
                distinct.push(method);
            }
        }
        let mut registry = self.registry.lock();
        registry.withdraw(id);
        if let Some(worker) = registry.workers.get_mut(&id) {
            worker.methods = distinct;
            worker.concurrency = concurrency;
        }
        registry.enter(id);
        self.offered.notify_one();
    }

    /// Waits for the next offer of any worker. For one who waits.
    pub async fn offered(&self) {
        self.offered.notified().await;
    }

    /// Forgets a worker.
    pub(super) fn leave(&self, id: u64) {
        let mut registry = self.registry.lock();
        registry.withdraw(id);
        registry.workers.remove(&id);
    }

    /// Takes a place at the least busy worker of the most specific pattern that takes this
    /// method, but at none of `asked`.
    pub(super) fn take(self: &Arc<Self>, method: &str, asked: &[u64]) -> Result<Place, NoWorker> {
        let mut registry = self.registry.lock();
        let mut found = None;
        let mut all_busy = false;
        registry.groups.visit(method, &mut |group| {
            all_busy |= group.members > group.free.len();
            found = group
                .free
                .iter()
                .map(|(_, _, id)| *id)
                .find(|id| !asked.contains(id));
            found.is_some()
        });
        let Some(worker) = found else {
            return Err(NoWorker { all_busy });
        };
        let number = registry.count();
        let mail = registry
            .workers
            .get(&worker)
            .map(|worker| worker.mail.clone());
        let mail = mail.ok_or(NoWorker { all_busy })?;
        registry.rerank(worker, |worker| {
            worker.busy += 1;
            worker.turn = number;
        });
        Ok(Place {
            workers: self.clone(),
            worker,
            mail,
            number,
            handed_over: false,
        })
    }
}

impl Registry {
    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Takes a worker out of its groups, as far as it stands there.
    fn withdraw(&mut self, id: u64) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        for method in &worker.methods {
            let Some(group) = self.groups.get_mut(method) else {
                continue;
            };
            group.free.remove(&worker.rank(id));
            group.members -= 1;
            if group.members == 0 {
                self.groups.remove(method);
            }
        }
    }

    /// Puts a worker into the groups of what it offers.
    fn enter(&mut self, id: u64) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        for method in &worker.methods {
            let group = self.groups.get_or_default(method);
            group.members += 1;
            if worker.has_room() {
                group.free.insert(worker.rank(id));
            }
        }
    }

    /// Changes how busy a worker is.
    fn rerank(&mut self, id: u64, change: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return; // gone, and its rank with it
        };
        let before = worker.rank(id);
        change(worker);
        let (after, has_room) = (worker.rank(id), worker.has_room());
        for method in &worker.methods {
            if let Some(group) = self.groups.get_mut(method) {
                group.free.remove(&before);
                if has_room {
                    group.free.insert(after);
                }
            }
        }
    }
}

impl Worker {
    fn rank(&self, id: u64) -> Rank {
        (self.busy, self.turn, id)
    }

    fn has_room(&self) -> bool {
        self.busy < self.concurrency
    }
}

/// One of a worker's places, given back on drop; a worker that was asked and did not answer is
/// told that nobody waits any more.
pub(super) struct Place {
    workers: Arc<Workers>,
    worker: u64,
    mail: mpsc::Sender<Mail>,
    number: u64,
    /// Asked, and not answered yet.
    handed_over: bool,
}

impl Place {
    /// Whose place it is.
    pub(super) fn worker(&self) -> u64 {
        self.worker
    }

    /// Puts the call to the worker. Says whether it went out.
    pub(super) fn put(&mut self, ask: Ask) -> bool {
        let mail = Mail::Ask(self.number, Box::new(ask));
        self.handed_over = self.mail.try_send(mail).is_ok();
        self.handed_over
    }

    /// The worker needs not be told of the end.
    pub(super) fn answered(&mut self) {
        self.handed_over = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.handed_over {
            // A mailbox without room, or a worker that has gone, hears of it no more.
            let _told = self.mail.try_send(Mail::Cancelled(self.number)).is_ok();
        }
        let mut registry = self.workers.registry.lock();
        registry.rerank(self.worker, |worker| {
            worker.busy = worker.busy.saturating_sub(1);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(
        workers: &Workers,
        methods: &[&str],
        concurrency: usize,
    ) -> (u64, mpsc::Receiver<Mail>) {
        let (id, mail) = workers.join();
        let methods = methods.iter().map(|one| Pattern::parse(one).unwrap());
        workers.offer(id, methods.collect(), concurrency);
        (id, mail)
    }

    #[test]
    fn nobody_and_all_busy_are_told_apart() {
        let workers = Arc::new(Workers::default());
        assert!(workers.take("a/b", &[]).is_err_and(|none| !none.all_busy));
        let (_id, _mail) = offer(&workers, &["a/{x}"], 1);
        let place = workers.take("a/b", &[]).ok().unwrap();
        assert!(workers.take("a/b", &[]).is_err_and(|none| none.all_busy));
        assert!(workers.take("z", &[]).is_err_and(|none| !none.all_busy));
        drop(place);
        let declined = [workers.take("a/b", &[]).ok().unwrap().worker()];
        assert!(
            workers
                .take("a/b", &declined)
                .is_err_and(|none| !none.all_busy)
        );
    }

    #[test]
    fn the_least_busy_of_the_most_specific_pattern_is_asked() {
        let workers = Arc::new(Workers::default());
        let (all, _mail) = offer(&workers, &["{all...}"], 9);
        let (one, _mail1) = offer(&workers, &["a/{x}"], 2);
        let (two, _mail2) = offer(&workers, &["a/{y}", "a/{z}"], 2);
        let take = || workers.take("a/b", &[]).ok().unwrap();
        let places: Vec<_> = (0..5).map(|_| take()).collect();
        let asked: Vec<_> = places.iter().map(Place::worker).collect();
        assert_eq!(asked, [one, two, one, two, all]);
        drop(places);
        assert_eq!(take().worker(), one, "asked longer ago than the other");
        assert_eq!(workers.take("a/b", &[one, two]).ok().unwrap().worker(), all);
        assert_eq!(workers.take("z", &[]).ok().unwrap().worker(), all);
    }

    #[test]
    fn a_new_offer_replaces_the_old_one_and_nothing_stays_behind() {
        let workers = Arc::new(Workers::default());
        let (id, _mail) = offer(&workers, &["a", "b/{x...}"], 1);
        let place = workers.take("a", &[]).ok().unwrap();
        workers.offer(id, vec![Pattern::parse("c").unwrap()], 2);
        assert!(workers.take("a", &[]).is_err());
        let second = workers.take("c", &[]).ok().unwrap();
        assert!(workers.take("c", &[]).is_err(), "the old call still counts");
        drop(place);
        drop(workers.take("c", &[]).ok().unwrap());
        workers.leave(id);
        drop(second);
        let registry = workers.registry.lock();
        assert!(registry.groups.is_empty() && registry.workers.is_empty());
    }
}

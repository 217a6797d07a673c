//! The outbox on disk: what was accepted for a bus, or to be carried out, and is not delivered yet.
//!
//! What [`Spool::append`] answered `Ok` to is on disk: it survives `kill -9` and the loss of power,
//! and is delivered at least once, in the order of its lane. It comes twice only if the process
//! dies between a delivery and the mark that says so. Where the directory is damaged, exactly the
//! damaged records are lost, and counted; the others are found again, and no wrong body is ever
//! handed out. Where the disk is full or fails, nobody is told `Ok`.
//!
//! # Layout
//!
//! ```text
//! consumer ← queue, lanes ← state → intake → writer, compaction → log → disk
//! entry = 32 bytes in memory for a record · bodies = what it holds
//! record = its form on disk · scan, recovery = how it is found again
//! ```

mod bodies;
mod compaction;
mod consumer;
mod directory;
mod disk;
mod entry;
mod intake;
mod lanes;
mod log;
mod queue;
mod record;
mod recovery;
mod refused;
mod scan;
mod segment;
mod shared;
mod state;
mod tally;
mod view;
mod writer;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use self::bodies::Files;
pub use self::consumer::{Consumer, Item};
use self::directory::Directory;
use self::disk::{Disk, System};
use self::log::Log;
pub use self::refused::Unkept;
use self::shared::Shared;
use self::state::{Refusal, State, Told};
pub use self::tally::Tally;
pub use self::view::{Listed, QueueStats};
use self::writer::Writer;
use crate::call::{Fault, Kind};
use crate::config::Limits;
use crate::observe::Metrics;

/// The handle; cheap to clone. The writer's thread ends with the last one, its consumers and their
/// items, after everything is written.
#[derive(Clone)]
pub struct Spool(Arc<Handle>);

struct Handle(Arc<Shared>);

/// What is kept in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The record waits for no other and none for it.
    Own,
    /// In order with all of the same queue and lane; a hash of the topic or key.
    Named(u64),
}

/// A record that is to be kept.
pub struct Draft<'a> {
    /// Where it waits.
    pub queue: &'a str,
    /// What it is in order with.
    pub lane: Lane,
    /// What it holds.
    pub body: Bytes,
}

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
#[error("cannot spool anything in {path}: {why}; see [store] in the configuration")]
pub struct SpoolError {
    /// The directory.
    pub path: PathBuf,
    /// What the system said.
    pub why: String,
}

/// The bounds of a spool.
#[derive(Clone, Copy)]
struct Sizes {
    /// Bytes on disk of all that waits.
    spool: u64,
    /// A file of this size is full.
    segment: u64,
    /// Bytes on disk that may be wasted, however little waits.
    slack: u64,
    /// Bytes of bodies in memory.
    bodies: usize,
}

impl Sizes {
    fn of(limits: &Limits) -> Sizes {
        let segment = (limits.spool_size / 8).clamp(256 * 1024, 16 * 1024 * 1024);
        Sizes {
            spool: limits.spool_size,
            segment,
            slack: 2 * segment,
            bodies: 16 * 1024 * 1024,
        }
    }
}

impl Spool {
    /// Opens the directory, or makes it, and finds what an earlier process left there. Damage is
    /// stepped over and counted; it never keeps this from opening.
    pub fn open(
        directory: &Path,
        limits: &Limits,
        metrics: &Arc<Metrics>,
    ) -> Result<Spool, SpoolError> {
        Spool::open_on(Arc::new(System), directory, Sizes::of(limits), metrics)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        sizes: Sizes,
        metrics: &Arc<Metrics>,
    ) -> Result<Spool, SpoolError> {
        let failed = |error: std::io::Error| SpoolError {
            path: path.to_owned(),
            why: error.to_string(),
        };
        let directory = Directory::open(path)?;
        let recovered = recovery::read(&directory).map_err(failed)?;
        metrics.spool_damaged(recovered.damaged);
        let log = Log::new(directory, disk, sizes.segment, &recovered);
        let state = State::new(recovered, sizes);
        let files = Files::new(path.to_owned());
        let shared = Arc::new(Shared::new(state, files, metrics.clone()));
        let writer = Writer::new(shared.clone(), log);
        let thread = std::thread::Builder::new().name("spool".into());
        thread.spawn(move || writer.run()).map_err(failed)?;
        Ok(Spool(Arc::new(Handle(shared))))
    }

    /// Takes a record for this queue, in the order of the calls. What it comes to is told by
    /// [`Appended`]; the record is delivered also if that is dropped.
    ///
    /// Returns `unavailable` if `limits.spool_size` is reached, or three quarters of it by this queue
    /// alone, `overloaded` if too much waits to be written.
    pub fn append(&self, queue: &str, lane: Lane, body: Bytes) -> Result<Appended, Fault> {
        let mut appended = self.append_all(vec![Draft { queue, lane, body }], None)?;
        appended.pop().ok_or_else(Fault::shutting_down)
    }

    /// As [`Spool::append`], but all or none: who is refused and tries again sends nothing twice.
    /// `beside` has to have room as well, a record of so many bytes that is appended next.
    pub fn append_all(
        &self,
        drafts: Vec<Draft>,
        beside: Option<(&str, usize)>,
    ) -> Result<Vec<Appended>, Fault> {
        let appended = self.shared().state().append(drafts, beside);
        let appended = appended.map_err(|refusal| self.refuse(refusal))?;
        self.shared().wake();
        let told = appended.into_iter();
        Ok(told.map(|(id, told)| Appended { id, told }).collect())
    }

    fn refuse(&self, refusal: Refusal) -> Fault {
        let metrics = &self.shared().metrics;
        match refusal {
            Refusal::TooLarge => Fault::new(Kind::TooLarge, "too large to be kept"),
            Refusal::Full => {
                metrics.limit_reached("spool_size");
                Fault::unavailable(
                    "storage_full",
                    "as much waits to be delivered as `limits.spool_size` allows; try again later",
                )
            }
            Refusal::QueueFull => {
                metrics.limit_reached("spool_size");
                Fault::unavailable(
                    "storage_full",
                    "as much waits for this destination as one may take, three quarters of \
                     `limits.spool_size`; try again later",
                )
            }
            Refusal::Crowded => {
                metrics.limit_reached("spool_queue");
                let fault = "too much waits to be kept, try again soon";
                Fault::new(Kind::Overloaded, fault).with_retry_after(Duration::from_secs(1))
            }
            Refusal::Behind => Fault::unavailable(
                "storage_failed",
                "what came before it could not be kept; try again",
            ),
            Refusal::Ended => Fault::shutting_down(),
        }
    }

    /// Whoever delivers what waits in this queue; there is one. What an earlier process left comes
    /// first.
    pub fn consume(&self, queue: &str) -> Consumer {
        Consumer::new(self.clone(), queue)
    }

    /// Lets the lanes of this queue, or of all, wait no longer.
    pub fn retry_now(&self, queue: Option<&str>) {
        let mut state = self.shared().state();
        let places = state.places(queue);
        let retried = places.into_iter().map(|place| {
            let queue = &mut state.queues[place];
            queue.retry_now();
            queue.more.clone()
        });
        let hear: Vec<_> = retried.collect();
        drop(state);
        for more in hear {
            more.notify_one();
        }
    }

    /// Throws away what waits in this queue, or in all, also what is just being delivered; says how
    /// much that was.
    pub fn purge(&self, queue: Option<&str>) -> usize {
        let mut state = self.shared().state();
        let places = state.places(queue);
        let purged = places.into_iter().map(|place| {
            let purged = state.purge(place);
            if let Some(tell) = &state.queues[place].purged {
                tell();
            }
            purged
        });
        let purged = purged.sum();
        drop(state);
        self.shared().wake();
        purged
    }

    /// Calls `hear` whenever this queue is purged, before anything else can come into it; it must
    /// not use the spool. There is one.
    pub fn when_purged(&self, queue: &str, hear: impl Fn() + Send + Sync + 'static) {
        let mut state = self.shared().state();
        let place = state.queue(queue);
        state.queues[place].purged = Some(Box::new(hear));
    }

    /// Takes nothing any more, and waits until everything is written and the directory is free.
    pub async fn close(&self) {
        self.shared().close();
        self.shared().ended.cancelled().await;
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Resolves once the record is on disk, or cannot be kept.
///
/// Fails with `unavailable`, reason `storage_full` or `storage_failed`; nothing that follows in its
/// lane is kept before that [`Unkept`] is dropped.
#[must_use = "the record is kept only if this says so"]
pub struct Appended {
    id: u64,
    told: Told,
}

impl Appended {
    /// Its place in the order of all records.
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Future for Appended {
    type Output = Result<(), Unkept>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = Pin::new(&mut self.told).poll(context);
        told.map(|told| told.unwrap_or_else(|_| Err(Fault::shutting_down().into())))
    }
}

#[cfg(test)]
mod tests;

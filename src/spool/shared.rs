//! What the handles, the consumers and the writer's thread share: the state behind its lock, and
//! the way to what records hold.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bodies::{Body, Files, Spot};
use super::intake::Group;
use super::queue::Taken;
use super::state::State;
use crate::observe::Metrics;

/// Before a record is read again that could not be read for want of something else than itself.
const READ_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Shared {
    state: Mutex<State>,
    /// The writer's thread waits here.
    work: Condvar,
    files: Files,
    pub metrics: Arc<Metrics>,
    /// Cancelled when that thread has ended and the directory is free again.
    pub ended: CancellationToken,
}

/// The answer to who is next.
pub(super) enum Next {
    /// This one.
    Item { id: u64, attempts: u16, body: Body },
    /// To be asked again.
    GoOn,
    /// Nobody, until something comes or a lane is due.
    Nobody(Option<Instant>),
}

impl Shared {
    pub(super) fn new(state: State, files: Files, metrics: Arc<Metrics>) -> Shared {
        Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            files,
            metrics,
            ended: CancellationToken::new(),
        }
    }

    /// The state; whoever leaves work for the writer calls [`Shared::wake`] as well.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// There is work for the writer.
    pub(super) fn wake(&self) {
        self.work.notify_one();
    }

    /// Nothing is taken any more; what was taken is still written.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.wake();
    }

    /// Waits for what is to be written; not if the writer has something else to do. Says as well
    /// whether it is the last.
    pub(super) fn group(&self, busy: bool) -> (Group, bool) {
        let mut state = self.state();
        loop {
            let closing = state.closing;
            let due = match state.intake.group(closing) {
                Ok(group) => {
                    state.writing(&group);
                    return (group, closing && state.intake.is_empty());
                }
                Err(_) if busy => return (Group::default(), false),
                Err(due) => due,
            };
            match due {
                Some(due) => {
                    self.work.wait_until(&mut state, due);
                }
                None => self.work.wait(&mut state),
            }
        }
    }

    /// The next record of a queue, with what it holds.
    pub(super) fn next(&self, queue: usize) -> Next {
        let (id, attempts) = {
            let mut state = self.state();
            if state.closing {
                // What is handed out now could not be marked when it is done.
                return Next::Nobody(None);
            }
            match state.queues[queue].take(Instant::now()) {
                Taken::Entry { id, attempts } => (id, attempts),
                Taken::GoOn => return Next::GoOn,
                Taken::Nobody(due) => return Next::Nobody(due),
            }
        };
        match self.body(queue, id) {
            Ok(Some(body)) => Next::Item { id, attempts, body },
            // Taken out or lost meanwhile.
            Ok(None) => Next::GoOn,
            Err(error) => {
                tracing::error!(id, %error, "a record of the spool cannot be read now");
                self.give_back(queue, id, Some(READ_AGAIN));
                Next::GoOn
            }
        }
    }

    /// What a record holds; `None` if it waits no more, also because it is damaged.
    ///
    /// Fails if it cannot be read for another reason, which may pass.
    pub(super) fn body(&self, queue: usize, id: u64) -> io::Result<Option<Body>> {
        loop {
            let spot = {
                let mut state = self.state();
                if let Some(body) = state.bodies.get(id) {
                    return Ok(Some(body.clone()));
                }
                match state.spot(queue, id) {
                    Some(spot) => spot,
                    None => return Ok(None),
                }
            };
            match self.files.read(id, &spot) {
                Ok(Some(body)) => return Ok(Some(body)),
                Err(error) if !is_damage(&error) => return Err(error),
                Ok(None) | Err(_) => {}
            }
            if self.lose(queue, id, &spot) {
                return Ok(None);
            }
        }
    }

    /// Gives up a record that is damaged, unless it has moved while it was read.
    fn lose(&self, queue: usize, id: u64, spot: &Spot) -> bool {
        let mut state = self.state();
        if state.spot(queue, id) != Some(*spot) {
            return false;
        }
        state.done(queue, id);
        drop(state);
        self.wake();
        self.metrics.spool_damaged(1);
        tracing::error!(id, file = %spot.name, "a record of the spool is damaged and lost");
        true
    }

    /// A record was delivered.
    pub(super) fn done(&self, queue: usize, id: u64) {
        self.state().done(queue, id);
        self.wake();
    }

    /// A record was not delivered; its lane waits so long.
    pub(super) fn give_back(&self, queue: usize, id: u64, wait: Option<Duration>) {
        let mut state = self.state();
        if wait.is_some() {
            // Others come before it and have more use for the memory.
            state.bodies.forget(id);
        }
        let due = wait.map(|wait| Instant::now() + wait);
        state.queues[queue].give_back(id, due);
    }

    /// Lets go of files that are removed.
    pub(super) fn forget_files(&self, names: &[super::segment::Name]) {
        for name in names {
            self.files.forget(*name);
        }
    }

    /// The writer's thread has ended: what it did not write it never will.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.closing = true;
        state.intake.end();
        drop(state);
        self.ended.cancel();
    }
}

/// Whether a record cannot be read because of what it has become.
fn is_damage(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

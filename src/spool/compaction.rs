//! Gives back disk: files in which nothing waits go, and what waits among much that does not is
//! copied to the end of the log.

use std::io;
use std::time::{Duration, Instant};

use super::intake::Group;
use super::record::Kept;
use super::segment::Name;
use super::writer::Writer;

/// After a copy that failed, before the next.
const COPY_AGAIN: Duration = Duration::from_secs(1);

impl Writer {
    /// Gives back some disk, if any can be; says whether there is more to do at once.
    pub(super) fn tidy(&mut self) -> bool {
        let needless = self.shared.state().needless();
        if !needless.is_empty() {
            self.remove(&needless);
        }
        if self.copy_after.is_some_and(|after| Instant::now() < after) {
            return false;
        }
        self.copy_after = None;
        let state = self.shared.state();
        let Some(oldest) = state.wasteful().filter(|_| !state.closing) else {
            return false;
        };
        let waiting = state.waiting_in(oldest);
        drop(state);
        let copied = self.copy(&waiting);
        if let Err(error) = &copied {
            tracing::warn!(%error, "the spool cannot be made smaller now");
            self.copy_after = Some(Instant::now() + COPY_AGAIN);
        }
        copied.is_ok()
    }

    fn remove(&self, names: &[Name]) {
        self.log.remove(names);
        self.shared.forget_files(names);
    }

    /// Copies records to the end of the log, with the ids that they have, so that nothing waits
    /// where they were.
    fn copy(&mut self, waiting: &[(usize, u64)]) -> io::Result<()> {
        let mut bodies = Vec::with_capacity(waiting.len());
        for &(queue, id) in waiting {
            if let Some(body) = self.shared.body(queue, id)? {
                bodies.push((queue, id, body));
            }
        }
        let names: Vec<_> = {
            let state = self.shared.state();
            state
                .queues
                .iter()
                .map(|queue| queue.name.clone())
                .collect()
        };
        let mut draft = self.log.begin().map_err(|failure| failure.error)?;
        let copies = bodies.iter().map(|(queue, id, body)| {
            let place = draft.kept(&Kept {
                id: *id,
                accepted: body.accepted,
                lane: body.lane,
                queue: &names[*queue],
                body: &body.bytes,
            });
            (*queue, *id, place)
        });
        let copies: Vec<_> = copies.collect();
        let grown = draft.finish(true).map_err(|failure| failure.error)?;
        let mut state = self.shared.state();
        state.grown(&grown);
        for (queue, id, place) in copies {
            state.moved(queue, id, place);
        }
        Ok(())
    }

    /// Removes every file if nothing waits in any: a full disk may be full of them. Says whether
    /// there was one.
    pub(super) fn give_all_back(&mut self, group: &Group) -> bool {
        let needless = self.shared.state().needless_but_for(group);
        if needless.is_empty() {
            return false;
        }
        self.log.let_go();
        self.remove(&needless);
        true
    }
}

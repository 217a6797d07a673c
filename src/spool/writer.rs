//! The thread that writes: what waits is written together, synchronised once, then all are told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::Place;
use super::intake::Group;
use super::log::{Failure, Grown, Log};
use super::record::Kept;
use super::shared::Shared;
use crate::call::Fault;

/// After a copy that failed, before the next.
const COPY_AGAIN: Duration = Duration::from_secs(1);

/// Owns the end of the log.
pub(super) struct Writer {
    shared: Arc<Shared>,
    log: Log,
    /// The last group could not be written.
    failing: bool,
    copy_after: Option<Instant>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, log: Log) -> Writer {
        Writer {
            shared,
            log,
            failing: false,
            copy_after: None,
        }
    }

    /// Writes until the spool is closed and everything is written.
    pub(super) fn run(mut self) {
        let _ending = Ending(self.shared.clone());
        loop {
            let busy = self.tidy();
            let (group, last) = self.shared.group(busy);
            let kept = group.is_empty() || self.commit(group, last);
            // What cannot be written at the end is not tried for ever.
            if last || (!kept && self.shared.state().closing) {
                break;
            }
        }
        // The directory is free before anybody hears of the end.
        drop(self.log);
    }

    /// Writes a group; says whether that went well.
    fn commit(&mut self, group: Group, last: bool) -> bool {
        // Marks are lost only with the power, and then something is sent twice.
        let sync = !group.records.is_empty() || last;
        match self.write(&group, sync) {
            Ok((places, grown)) => {
                self.went_well();
                self.kept(group, &places, &grown);
                true
            }
            Err(failure) => {
                let fault = self.failed(&failure);
                self.refused(group, &failure, &fault);
                false
            }
        }
    }

    fn write(&mut self, group: &Group, sync: bool) -> Result<(Vec<Place>, Grown), Failure> {
        let mut draft = self.log.begin()?;
        draft.done(&group.marks);
        let places = group.records.iter().map(|record| {
            draft.kept(&Kept {
                id: record.id,
                accepted: record.body.accepted,
                lane: record.body.lane,
                queue: &record.name,
                body: &record.body.bytes,
            })
        });
        let places = places.collect();
        Ok((places, draft.finish(sync)?))
    }

    /// Lets the records of a group be handed out, and tells everyone in their order.
    fn kept(&self, group: Group, places: &[Place], grown: &Grown) {
        let mut told = Vec::with_capacity(group.records.len());
        let mut state = self.shared.state();
        state.grown(grown);
        for (record, place) in group.records.into_iter().zip(places) {
            state.kept(record.id, record.queue, record.body, *place);
            told.push((record.queue, record.told));
        }
        let mut last = None;
        for &(queue, _) in &told {
            // Mostly it is the same one; hearing of it twice does no harm.
            if last.replace(queue) != Some(queue) {
                state.queues[queue].more.notify_one();
            }
        }
        drop(state);
        for (_queue, told) in told {
            // Nobody there: whoever asked has gone away meanwhile.
            told.send(Ok(())).unwrap_or_default();
        }
    }

    fn refused(&self, group: Group, failure: &Failure, fault: &Fault) {
        let mut state = self.shared.state();
        state.refused(&group);
        state.intake.mark_later(group.marks);
        if failure.unsure {
            // Should they be on disk for all that: nobody was told so.
            let ids = group.records.iter().map(|record| record.id);
            state.intake.mark_later(ids);
        }
        drop(state);
        for record in group.records {
            record.told.send(Err(fault.clone())).unwrap_or_default();
        }
    }

    fn went_well(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("the spool can be written again");
        }
    }

    /// Counts a failure, and puts it into words: once in the log until it is over.
    fn failed(&mut self, failure: &Failure) -> Fault {
        let known = std::mem::replace(&mut self.failing, true);
        let error = &failure.error;
        if failure.is_full() {
            if !known {
                tracing::error!(%error, "the disk is full, so nothing can be spooled; make room");
            }
            return Fault::unavailable(
                "storage_full",
                "the disk is full, so nothing can be kept; make room",
            );
        }
        self.shared.metrics.spool_failed();
        if !known {
            tracing::error!(%error, "the disk fails, so nothing can be spooled");
        }
        Fault::unavailable(
            "storage_failed",
            "what is sent cannot be kept; see callway's log",
        )
    }

    /// Gives back disk that nothing needs; says whether there is more to do at once.
    fn tidy(&mut self) -> bool {
        let needless = self.shared.state().needless();
        if !needless.is_empty() {
            self.log.remove(&needless);
            self.shared.forget_files(&needless);
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

    /// Copies records to the end of the log, with the ids that they have, so that nothing waits
    /// where they were.
    fn copy(&mut self, waiting: &[(usize, u64)]) -> std::io::Result<()> {
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
}

/// However the thread ends, nobody waits for it in vain.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

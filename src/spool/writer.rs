//! The thread that writes: what waits is written together, synchronised once, then all are told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::Place;
use super::intake::Group;
use super::log::{Failure, Grown, Log};
use super::record::Kept;
use super::refused::{Unkept, lane_of};
use super::shared::Shared;
use crate::call::Fault;

/// So many records are a crowd, which is likely to come again.
const CROWD: usize = 8;
/// However long a group took, a crowd is not waited for longer.
const LONGEST_MOMENT: Duration = Duration::from_micros(250);

/// Owns the end of the log.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) log: Log,
    /// The last group could not be written.
    failing: bool,
    /// Nothing is copied before this.
    pub(super) copy_after: Option<Instant>,
    /// How many records the last group had, and how long it took.
    last: (usize, Duration),
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, log: Log) -> Writer {
        Writer {
            shared,
            log,
            failing: false,
            copy_after: None,
            last: (0, Duration::ZERO),
        }
    }

    /// Writes until the spool is closed and everything is written.
    pub(super) fn run(mut self) {
        let _ending = Ending(self.shared.clone());
        loop {
            let busy = self.tidy();
            self.wait_for_company();
            let (group, closing) = self.shared.group(busy);
            let (records, begun) = (group.records.len(), Instant::now());
            let kept = group.is_empty() || self.commit(group, closing);
            self.last = (records, begun.elapsed());
            // What cannot be written at the end is not tried for ever.
            if closing && (!kept || self.shared.state().intake.is_empty()) {
                break;
            }
        }
        // The directory is free before anybody hears of the end.
        drop(self.log);
    }

    /// Waits for a moment if many were told just now and few are here: most of them come again at
    /// once, and would otherwise split into two crowds that wait for each other's sync.
    fn wait_for_company(&self) {
        let (records, took) = self.last;
        if records >= CROWD && self.shared.state().intake.records_waiting() < records / 2 {
            std::thread::park_timeout((took / 4).min(LONGEST_MOMENT));
        }
    }

    /// Writes a group; says whether that went well.
    fn commit(&mut self, group: Group, closing: bool) -> bool {
        // Marks are lost only with the power, and then something is sent twice.
        let sync = !group.records.is_empty() || closing;
        let mut written = self.write(&group, sync);
        if let Err(failure) = &written
            && failure.is_full()
            && self.give_all_back(&group)
        {
            written = self.write(&group, sync);
        }
        match written {
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
        // Mostly it is one queue; hearing of more twice does no harm.
        let mut queues: Vec<_> = told.iter().map(|(queue, _)| *queue).collect();
        queues.dedup();
        let hear = queues.iter().map(|&queue| state.queues[queue].more.clone());
        let hear: Vec<_> = hear.collect();
        drop(state);
        for more in hear {
            more.notify_one();
        }
        for (_queue, told) in told {
            // Nobody there: whoever asked has gone away meanwhile.
            drop(told.send(Ok(())));
        }
    }

    fn refused(&self, mut group: Group, failure: &Failure, fault: &Fault) {
        let mut state = self.shared.state();
        state.intake.mark_later(group.marks.drain(..));
        if failure.unsure {
            // Should they be on disk for all that: nobody was told so.
            let ids = group.records.iter().map(|record| record.id);
            state.intake.mark_later(ids);
        }
        state.refused(&mut group);
        drop(state);
        for record in group.records {
            let lane = lane_of(record.queue, record.body.lane);
            let unkept = Unkept::new(fault.clone(), lane, &self.shared);
            // Whoever has gone away need not hear of it.
            drop(record.told.send(Err(unkept)));
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
}

/// However the thread ends, nobody waits for it in vain.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

//! What is known of the spool in memory, and how it changes.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::bodies::{Bodies, Body, Spot};
use super::entry::{Entry, Place};
use super::intake::{GROUP_BYTES, Group, Intake, Unwritten};
use super::log::Grown;
use super::queue::Queue;
use super::recovery::Recovered;
use super::refused::{Closed, Unkept, lane_of};
use super::segment::{Name, Segments};
use super::tally::Tally;
use super::{Draft, Sizes, record};
use crate::call::unix_ms;

/// Why a record is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No record is so large.
    TooLarge,
    /// `limits.spool_size` is reached.
    Full,
    /// What one queue may take of it is reached.
    QueueFull,
    /// Too much waits to be written.
    Crowded,
    /// What came before it in its lane could not be kept.
    Behind,
    /// The spool is closed.
    Ended,
}

/// What one queue may take of `limits.spool_size`, in quarters: one bus that is away for long leaves
/// room for the others.
const QUARTERS: u64 = 3;

/// Where the fate of a record is told.
pub(super) type Told = oneshot::Receiver<Result<(), Unkept>>;

/// What is behind the lock.
pub(super) struct State {
    sizes: Sizes,
    /// Each for good at its place.
    pub queues: Vec<Queue>,
    pub bodies: Bodies,
    pub intake: Intake,
    pub closed: Closed,
    segments: Segments,
    /// What the records that wait take on disk, with those that are just being written.
    live: u64,
    next_id: u64,
    pub closing: bool,
}

impl State {
    /// Takes over what was recovered.
    pub(super) fn new(recovered: Recovered, sizes: Sizes) -> State {
        let mut state = State {
            sizes,
            queues: Vec::new(),
            bodies: Bodies::new(sizes.bodies),
            intake: Intake::default(),
            closed: Closed::default(),
            segments: recovered.segments,
            live: 0,
            next_id: recovered.next_id,
            closing: false,
        };
        for (name, entries) in recovered.queues {
            let mut queue = Queue::new(name);
            for entry in entries {
                queue.push(entry);
                queue.tally.recovered += 1;
            }
            state.live += queue.bytes();
            state.queues.push(queue);
        }
        state
    }

    /// The place of this queue; one that is new is empty.
    pub(super) fn queue(&mut self, name: &str) -> usize {
        let known = self.queues.iter().position(|queue| *queue.name == *name);
        known.unwrap_or_else(|| {
            self.queues.push(Queue::new(name.into()));
            self.queues.len() - 1
        })
    }

    /// The places of the queues that are meant: this one, or all.
    pub(super) fn places(&self, name: Option<&str>) -> Vec<usize> {
        let queues = self.queues.iter().enumerate();
        let meant = queues.filter(|(_, queue)| name.is_none_or(|name| *queue.name == *name));
        meant.map(|(place, _)| place).collect()
    }

    /// Lets records wait to be written, all or none; says their ids, and where the fate of each
    /// will be told. `beside` is only checked: a record of so many bytes that comes next.
    pub(super) fn append(
        &mut self,
        drafts: Vec<Draft>,
        beside: Option<(&str, usize)>,
    ) -> Result<Vec<(u64, Told)>, Refusal> {
        let sizes = drafts.iter().map(|draft| (draft.queue, draft.body.len()));
        let sizes: Vec<_> = sizes.chain(beside).collect();
        let places = self.admit(&sizes)?;
        let mut lanes = drafts.iter().zip(&places);
        if lanes.any(|(draft, &(queue, _length))| self.closed.has(queue, draft.lane)) {
            return Err(Refusal::Behind);
        }
        let taken = drafts.into_iter().zip(places);
        Ok(taken
            .map(|(draft, place)| self.take(draft, place))
            .collect())
    }

    /// Says the queue and the length of the frame of each of these records, if there is room for
    /// all of them.
    fn admit(&mut self, sizes: &[(&str, usize)]) -> Result<Vec<(usize, u32)>, Refusal> {
        if self.closing {
            return Err(Refusal::Ended);
        }
        let mut places = Vec::with_capacity(sizes.len());
        for &(name, body) in sizes {
            let length = record::length_of(name, body).ok_or(Refusal::TooLarge)?;
            places.push((self.queue(name), length));
        }
        let total = places
            .iter()
            .map(|&(_place, length)| u64::from(length))
            .sum::<u64>();
        if self.live + self.intake.bytes() + total > self.sizes.spool {
            return Err(Refusal::Full);
        }
        for &(place, _length) in &places {
            let queue = &self.queues[place];
            let own = places.iter().filter(|(other, _length)| *other == place);
            let more: u64 = own.map(|&(_place, length)| u64::from(length)).sum();
            if queue.bytes() + queue.unwritten + more > self.sizes.spool / 4 * QUARTERS {
                return Err(Refusal::QueueFull);
            }
        }
        match self.intake.is_crowded(places.len(), total) {
            true => Err(Refusal::Crowded),
            false => Ok(places),
        }
    }

    fn take(&mut self, draft: Draft, (queue, length): (usize, u32)) -> (u64, Told) {
        let id = self.next_id;
        self.next_id += 1;
        self.queues[queue].unwritten += u64::from(length);
        let (told, hears) = oneshot::channel();
        self.intake.push(Unwritten {
            id,
            queue,
            name: Arc::clone(&self.queues[queue].name),
            body: Body {
                accepted: unix_ms(),
                lane: draft.lane,
                bytes: draft.body,
            },
            length,
            told,
        });
        (id, hears)
    }

    /// Records are about to be written.
    pub(super) fn writing(&mut self, group: &Group) {
        self.live += bytes_of(group);
    }

    /// They could not be: nor is what waits behind them in their lanes, which is added.
    pub(super) fn refused(&mut self, group: &mut Group) {
        self.live -= bytes_of(group);
        let records = std::mem::take(&mut group.records);
        self.close_lanes(&records);
        let closed = &self.closed;
        let behind = self
            .intake
            .take_out(|record| closed.has(record.queue, record.body.lane));
        self.close_lanes(&behind);
        group.records = records;
        group.records.extend(behind);
        for record in &group.records {
            self.queues[record.queue].unwritten -= u64::from(record.length);
        }
    }

    fn close_lanes(&mut self, records: &[Unwritten]) {
        for record in records {
            if let Some(lane) = lane_of(record.queue, record.body.lane) {
                self.closed.close(lane);
            }
        }
    }

    /// A file holds more than before.
    pub(super) fn grown(&mut self, grown: &Grown) {
        self.segments.grow(grown.key, grown.name, grown.end);
    }

    /// A record is on disk; there it waits now.
    pub(super) fn kept(&mut self, id: u64, queue: usize, body: Body, place: Place) {
        self.count(place, 1);
        let kept = &mut self.queues[queue];
        kept.unwritten -= u64::from(place.length);
        kept.push(Entry::new(id, place, body.lane, body.accepted));
        kept.tally.accepted += 1;
        self.bodies.keep(id, body);
    }

    /// A record waits no more, if it still did; it is never handed out again. Says whether the
    /// writer has to hear of it.
    pub(super) fn done(&mut self, queue: usize, id: u64) -> bool {
        self.remove(queue, id, |tally| tally.done += 1)
    }

    /// A record is damaged; the rest as [`State::done`].
    pub(super) fn lost(&mut self, queue: usize, id: u64) -> bool {
        self.remove(queue, id, |tally| tally.lost += 1)
    }

    fn remove(&mut self, queue: usize, id: u64, count: impl FnOnce(&mut Tally)) -> bool {
        let Some(place) = self.queues[queue].remove(id) else {
            return false;
        };
        count(&mut self.queues[queue].tally);
        self.settle(id, place);
        self.intake.mark([id])
    }

    /// Takes out everything of a queue; says how much that was.
    pub(super) fn purge(&mut self, queue: usize) -> usize {
        let entries = self.queues[queue].clear();
        for entry in &entries {
            self.settle(entry.id, entry.place);
        }
        self.queues[queue].tally.purged += entries.len() as u64;
        self.intake.mark(entries.iter().map(|entry| entry.id));
        entries.len()
    }

    fn settle(&mut self, id: u64, place: Place) {
        self.bodies.forget(id);
        self.live -= u64::from(place.length);
        self.count(place, -1);
    }

    /// More or fewer wait in the file of this place.
    fn count(&mut self, place: Place, change: i32) {
        if let Some(segment) = self.segments.find(place.segment) {
            segment.live = segment.live.saturating_add_signed(change);
        }
    }

    /// Where a record lies that still waits.
    pub(super) fn spot(&mut self, queue: usize, id: u64) -> Option<Spot> {
        let place = self.queues[queue].find(id)?.place;
        let name = self.segments.find(place.segment)?.name;
        Some(Spot { name, place })
    }

    /// A record was copied; if it still waits, it does so there.
    pub(super) fn moved(&mut self, queue: usize, id: u64, to: Place) {
        if let Some(entry) = self.queues[queue].find(id) {
            let from = std::mem::replace(&mut entry.place, to);
            self.count(from, -1);
            self.count(to, 1);
        }
    }

    /// The oldest files in which nothing waits; they are forgotten here.
    pub(super) fn needless(&mut self) -> Vec<Name> {
        self.segments.needless()
    }

    /// All files, if nothing waits but these records that are being written.
    pub(super) fn needless_but_for(&mut self, group: &Group) -> Vec<Name> {
        if self.live > bytes_of(group) {
            return Vec::new();
        }
        self.segments.clear()
    }

    /// The oldest file, if so much of the disk is wasted that what waits in it is to be copied.
    pub(super) fn wasteful(&self) -> Option<u32> {
        let used = self.segments.used(self.sizes.segment / 4);
        let wasted = used.saturating_sub(self.live);
        let bound = self.sizes.slack.max(self.live);
        self.segments.oldest().filter(|_| wasted > bound)
    }

    /// Some of the records that wait in a file: their queues and ids.
    pub(super) fn waiting_in(&self, segment: u32) -> Vec<(usize, u64)> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for (queue, entries) in self.queues.iter().enumerate() {
            let here = entries
                .iter()
                .filter(|entry| entry.place.segment == segment);
            for entry in here {
                found.push((queue, entry.id));
                bytes += u64::from(entry.place.length);
                if bytes > GROUP_BYTES {
                    return found;
                }
            }
        }
        found
    }
}

fn bytes_of(group: &Group) -> u64 {
    let lengths = group.records.iter().map(|record| u64::from(record.length));
    lengths.sum()
}

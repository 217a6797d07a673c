//! What waits to be written: new records, and marks for those that wait no more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::bodies::Body;
use super::refused::Unkept;

/// Records that may wait, and their bytes.
const QUEUE: usize = 16_384;
const QUEUE_BYTES: u64 = 32 * 1024 * 1024;
/// Records that are written together, and their bytes, at most; one alone may be larger.
const GROUP: usize = 1024;
pub(super) const GROUP_BYTES: u64 = 1024 * 1024;
/// Marks that are written together at most.
const GROUP_MARKS: usize = 65_536;
/// How long marks wait for company.
const MARKS_WAIT: Duration = Duration::from_millis(10);
/// How long they wait after they could not be written.
const MARKS_RETRY: Duration = Duration::from_secs(1);

/// A record that waits to be written.
pub(super) struct Unwritten {
    pub id: u64,
    /// The queue's place among all, and its name.
    pub queue: usize,
    pub name: Arc<str>,
    pub body: Body,
    /// Of its frame.
    pub length: u32,
    /// Whoever wants to know what became of it.
    pub told: oneshot::Sender<Result<(), Unkept>>,
}

/// What is written together.
#[derive(Default)]
pub(super) struct Group {
    pub records: Vec<Unwritten>,
    pub marks: Vec<u64>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.marks.is_empty()
    }
}

/// All of it, in the order in which it came.
#[derive(Default)]
pub(super) struct Intake {
    records: VecDeque<Unwritten>,
    bytes: u64,
    marks: Vec<u64>,
    marks_due: Option<Instant>,
}

impl Intake {
    /// Whether there is no room for so many more records of so many bytes together.
    pub(super) fn is_crowded(&self, records: usize, bytes: u64) -> bool {
        let full = self.records.len() + records > QUEUE || self.bytes + bytes > QUEUE_BYTES;
        full && !self.records.is_empty()
    }

    /// What the frames of the records take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, record: Unwritten) {
        self.bytes += u64::from(record.length);
        self.records.push_back(record);
    }

    /// Marks that are written soon, whatever else is; says whether they are the first, of which
    /// the writer does not know.
    pub(super) fn mark(&mut self, ids: impl IntoIterator<Item = u64>) -> bool {
        self.marks.extend(ids);
        let first = !self.marks.is_empty() && self.marks_due.is_none();
        if first {
            self.marks_due = Some(Instant::now() + MARKS_WAIT);
        }
        first
    }

    /// Marks that could not be written; records do not wait for them meanwhile.
    pub(super) fn mark_later(&mut self, ids: impl IntoIterator<Item = u64>) {
        self.marks.extend(ids);
        if !self.marks.is_empty() {
            self.marks_due = Some(Instant::now() + MARKS_RETRY);
        }
    }

    /// What is to be written now; else, until when that can wait.
    pub(super) fn group(&mut self, at_once: bool) -> Result<Group, Option<Instant>> {
        let now = Instant::now();
        let marks_in = self.marks_due.map(|due| due.saturating_duration_since(now));
        let due = at_once || marks_in.is_some_and(|wait| wait.is_zero());
        if self.records.is_empty() && !due {
            return Err(self.marks_due);
        }
        let mut group = Group {
            records: self.take_records(),
            ..Group::default()
        };
        // Those that are not due yet come along, but for those that failed lately.
        if due || marks_in.is_some_and(|wait| wait <= MARKS_WAIT) {
            let rest = self.marks.len().saturating_sub(GROUP_MARKS);
            group.marks = self.marks.split_off(rest);
            self.marks_due = (!self.marks.is_empty()).then_some(now);
        }
        Ok(group)
    }

    fn take_records(&mut self) -> Vec<Unwritten> {
        let mut records = Vec::with_capacity(self.records.len().min(GROUP));
        let mut bytes = 0;
        while records.len() < GROUP
            && let Some(next) = self.records.front()
        {
            bytes += u64::from(next.length);
            if bytes > GROUP_BYTES && !records.is_empty() {
                break;
            }
            self.bytes -= u64::from(next.length);
            records.extend(self.records.pop_front());
        }
        records
    }

    /// Takes out the records of which this holds.
    pub(super) fn take_out(&mut self, whether: impl Fn(&Unwritten) -> bool) -> Vec<Unwritten> {
        let records = std::mem::take(&mut self.records).into_iter();
        let (out, left): (Vec<_>, Vec<_>) = records.partition(whether);
        let bytes = out.iter().map(|record| u64::from(record.length));
        self.bytes -= bytes.sum::<u64>();
        self.records = left.into();
        out
    }

    /// How many records there are.
    pub(super) fn records_waiting(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.marks.is_empty()
    }
}

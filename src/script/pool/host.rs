//! A host process as the pool sees it: the calls that it was given, and how it gets on with them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::floor::Job;
use crate::script::wire::ToHost;

/// Calls that are given to one host ahead of time, so that it never waits for the next.
const AHEAD: usize = 128;
/// No more are given to it while these have so many bytes of params.
const AHEAD_BYTES: usize = 1 << 20;
/// A call that runs longer may be slow: its host is given no others.
const LATE: Duration = Duration::from_millis(5);
/// After so much CPU time beyond that it is: the others are taken back. With less it may be that
/// the host is kept from running, as all of them are then; they would wait elsewhere as well.
const COMPUTED: Duration = Duration::from_millis(2);
/// After so long the others are taken back, whatever keeps it.
const STUCK: Duration = Duration::from_millis(50);
/// See [`super::floor::Patience::fair_share`].
const STARVED: u32 = 4;

/// Why a host is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// Its script did not stop at the limit.
    Time,
    /// Its script did not stop when its caller had gone.
    Abandoned,
    /// There are enough others.
    Surplus,
}

/// A host process.
pub struct Host {
    /// Frames that its task has yet to write.
    pub out: Vec<u8>,
    /// Wakes its task.
    pub wake: Arc<Notify>,
    pub doom: Option<Doom>,
    pub ready: bool,
    /// The first one runs, the others wait in the host.
    pub(super) jobs: VecDeque<Job>,
    /// Bytes of their params.
    bytes: usize,
    knows: HashSet<u32>,
    /// The running script waits for an answer.
    pub(super) blocked: bool,
    /// When the running script began, or went on after an answer; when it became idle.
    since: Instant,
    /// How long the running script ran before it asked last.
    spent: Duration,
    recall: Recall,
    pid: u32,
    /// The process's CPU time when the running script was first found to be slow.
    used_before: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recall {
    No,
    Asked,
    Done,
}

impl Host {
    pub fn new(pid: u32) -> Host {
        Host {
            out: Vec::new(),
            wake: Arc::new(Notify::new()),
            doom: None,
            ready: false,
            jobs: VecDeque::new(),
            bytes: 0,
            knows: HashSet::new(),
            blocked: false,
            since: Instant::now(),
            spent: Duration::ZERO,
            recall: Recall::No,
            pid,
            used_before: None,
        }
    }

    pub(super) fn send(&mut self, frame: &ToHost) {
        frame.write(&mut self.out);
        self.wake.notify_one();
    }

    pub(super) fn give(&mut self, job: Job) {
        if self.jobs.is_empty() {
            self.start_clock();
        }
        if self.knows.insert(job.script.number) {
            self.send(&ToHost::Script((*job.script).clone()));
        }
        ToHost::write_call(&job.work, &mut self.out);
        self.wake.notify_one();
        self.bytes += job.work.params.len();
        self.jobs.push_back(job);
    }

    /// Takes one of its calls off it, and says which in the order it was.
    pub(super) fn take(&mut self, id: u64) -> Option<(usize, Job)> {
        let at = self.jobs.iter().position(|job| job.work.id == id)?;
        let job = self.jobs.remove(at)?;
        self.bytes -= job.work.params.len();
        Some((at, job))
    }

    /// The next call runs, or none.
    pub(super) fn start_clock(&mut self) {
        self.since = Instant::now();
        self.spent = Duration::ZERO;
        self.blocked = false;
        self.recall = Recall::No;
        self.used_before = None;
    }

    /// The running script waits for an answer, maybe for long.
    pub(super) fn block(&mut self) {
        self.recall();
        self.spent = self.ran();
        self.blocked = true;
    }

    /// The running script goes on.
    pub(super) fn unblock(&mut self) {
        self.blocked = false;
        self.since = Instant::now();
    }

    /// The calls that were not started are back.
    pub(super) fn recalled(&mut self) {
        self.recall = Recall::Done;
    }

    /// How long the running script has run, by the wall clock.
    pub(super) fn ran(&self) -> Duration {
        match self.blocked {
            true => self.spent,
            false => self.spent + self.since.elapsed(),
        }
    }

    /// How much longer than usual its script may take.
    pub(super) fn allowance(&self, fair_share: Duration) -> u32 {
        match (self.used_before, cpu_time(self.pid)) {
            (Some(before), Some(now)) if now.saturating_sub(before) < fair_share => STARVED,
            _ => 1,
        }
    }

    /// Nothing to do since so long.
    pub(super) fn idle(&self) -> Option<Duration> {
        self.is_free().then(|| self.since.elapsed())
    }

    pub(super) fn is_free(&self) -> bool {
        self.ready && self.doom.is_none() && self.jobs.is_empty()
    }

    /// Whether calls that wait in it come to run, as far as is known.
    pub(super) fn gets_on(&self) -> bool {
        self.ready
            && self.doom.is_none()
            && self.recall == Recall::No
            && !self.blocked
            && !self.jobs.front().is_some_and(|job| job.alone)
    }

    /// Whether its running script has not come to its end for long, for whatever reason.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        !self.jobs.is_empty() && now.saturating_duration_since(self.since) >= LATE
    }

    pub(super) fn has_room(&self) -> bool {
        self.jobs.len() < AHEAD && self.bytes < AHEAD_BYTES
    }

    /// Takes the calls back that are not started, if the running script is slow, or stuck.
    pub(super) fn judge(&mut self, now: Instant) {
        if self.blocked || !self.is_late(now) {
            return;
        }
        let stuck = now.saturating_duration_since(self.since) >= STUCK;
        match (self.used_before, cpu_time(self.pid)) {
            (None, used @ Some(_)) => self.used_before = used,
            (Some(before), Some(used)) if used.saturating_sub(before) < COMPUTED && !stuck => {}
            _ => self.recall(),
        }
    }

    /// Leaves the running script alone in its host.
    fn recall(&mut self) {
        if self.recall == Recall::No {
            self.recall = Recall::Done;
            if self.jobs.len() > 1 {
                self.recall = Recall::Asked;
                self.send(&ToHost::Recall);
            }
        }
    }

    /// Whether the first of its calls is surely the one that ran last.
    pub(super) fn culprit_known(&self) -> bool {
        self.jobs.len() == 1 || self.recall == Recall::Done
    }
}

/// CPU time of a process's first thread, on which scripts run; `None` where the kernel hides it.
pub(in crate::script) fn cpu_time(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

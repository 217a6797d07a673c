//! A host process as the pool sees it: the calls that it was given, and how it gets on with them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::floor::Job;
use crate::script::wire::ToHost;

/// Calls that are given to one host ahead of time, so that it never waits for the next: as many as
/// it gets through within [`LATE`], but no fewer and no more than these.
const AHEAD: (u32, u32) = (8, 128);
/// No more are given to it while these have so many bytes.
const AHEAD_BYTES: usize = 1 << 20;
/// A host's pace is the mean of so many calls; the last ones weigh most.
const PACE_OF: u32 = 16;
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
    /// Bytes of what they bring along.
    bytes: usize,
    /// How long a call takes here.
    pace: Duration,
    knows: HashSet<u32>,
    /// The running script waits for an answer.
    pub(super) blocked: bool,
    /// When the running script began; when the host became idle.
    began: Instant,
    /// When the running script began, or went on after an answer.
    since: Instant,
    /// How long the running script ran before it asked last.
    spent: Duration,
    /// The calls behind the running one were called back.
    recalled: bool,
    pid: u32,
    /// The process's CPU time when the running script was first found to be slow.
    used_before: Option<Duration>,
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
            pace: LATE / AHEAD.0,
            began: Instant::now(),
            knows: HashSet::new(),
            blocked: false,
            since: Instant::now(),
            spent: Duration::ZERO,
            recalled: false,
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
            self.start_clock(Instant::now());
        }
        if self.knows.insert(job.script.number) {
            self.send(&ToHost::Script((*job.script).clone()));
        }
        ToHost::write_call(&job.work, &mut self.out);
        self.wake.notify_one();
        self.bytes += job.work.weight();
        self.jobs.push_back(job);
    }

    /// Takes one of its calls off it, and says which in the order it was.
    pub(super) fn take(&mut self, id: u64) -> Option<(usize, Job)> {
        let at = self.jobs.iter().position(|job| job.work.id == id)?;
        let job = self.jobs.remove(at)?;
        self.bytes -= job.work.weight();
        Some((at, job))
    }

    /// The running call is over.
    pub(super) fn next(&mut self, now: Instant) {
        self.pace = (self.pace * (PACE_OF - 1) + self.ran(now)) / PACE_OF;
        self.start_clock(now);
    }

    fn start_clock(&mut self, now: Instant) {
        self.began = now;
        self.since = now;
        self.spent = Duration::ZERO;
        self.blocked = false;
        self.recalled = false;
        self.used_before = None;
    }

    /// The running script waits for an answer, maybe for long.
    pub(super) fn block(&mut self) {
        self.recall();
        self.spent = self.ran(Instant::now());
        self.blocked = true;
    }

    /// The running script goes on.
    pub(super) fn unblock(&mut self) {
        self.blocked = false;
        self.since = Instant::now();
    }

    /// Whether the running script goes on for long after its caller went away. One that went away
    /// while its call waited here could not be told of before.
    pub(super) fn is_abandoned(&self, patience: Duration) -> bool {
        let cancelled = self.jobs.front().and_then(|job| job.cancelled);
        cancelled.is_some_and(|at| at.max(self.began).elapsed() > patience)
    }

    /// How long the running script has run, by the wall clock.
    pub(super) fn ran(&self, now: Instant) -> Duration {
        match self.blocked {
            true => self.spent,
            false => self.spent + now.saturating_duration_since(self.since),
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
        self.is_free().then(|| self.began.elapsed())
    }

    pub(super) fn is_free(&self) -> bool {
        self.ready && self.doom.is_none() && self.jobs.is_empty()
    }

    /// Whether calls that wait in it come to run, as far as is known.
    pub(super) fn gets_on(&self) -> bool {
        self.ready
            && self.doom.is_none()
            && !self.recalled
            && !self.blocked
            && !self.jobs.front().is_some_and(|job| job.alone)
    }

    /// Whether its running script has not come to its end for long, for whatever reason.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        !self.jobs.is_empty() && now.saturating_duration_since(self.since) >= LATE
    }

    pub(super) fn has_room(&self) -> bool {
        let (least, most) = AHEAD;
        let many = LATE.as_nanos() / self.pace.as_nanos().max(1);
        let many = many.clamp(least.into(), most.into()) as usize;
        self.jobs.len() < many && self.bytes < AHEAD_BYTES
    }

    /// Takes the calls back that are not started, if the running script is slow, or stuck.
    pub(super) fn judge(&mut self, now: Instant) {
        if self.blocked || !self.is_late(now) || self.recalled && self.used_before.is_some() {
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
        self.pace = LATE / AHEAD.0;
        if !self.recalled && self.jobs.len() > 1 {
            self.send(&ToHost::Recall);
        }
        self.recalled = true;
    }

    /// Whether the first of its calls is surely the one that ran last, or must not run again.
    pub(super) fn has_culprit(&self) -> bool {
        self.jobs.len() == 1 || self.jobs.front().is_some_and(|job| job.asked)
    }
}

/// CPU time of a process's first thread, on which scripts run; `None` where the kernel hides it.
pub(in crate::script) fn cpu_time(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

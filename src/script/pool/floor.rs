//! Who works on what: the hosts, the calls given to each, the calls that wait. No I/O in here.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::call::Fault;
use crate::script::wire::{Ask, Finished, FromHost, Script, ToHost, Work};

/// Calls that are given to one host ahead of time, so that it never waits for the next.
const AHEAD: usize = 32;
/// A call that runs longer gets its host for itself: the others are taken back.
const SLOW: Duration = Duration::from_millis(5);
/// See [`Patience::fair_share`].
const STARVED: u32 = 4;

/// A call on its way through the pool.
pub struct Job {
    pub script: Arc<Script>,
    pub work: Work,
    /// To the one who waits for the outcome; `None` once that one has gone.
    events: Option<oneshot::Sender<Event>>,
    /// Runs alone in its host, because it was there when a host died.
    alone: bool,
    cancelled: Option<Instant>,
    /// It was told that its time is over.
    stopped: bool,
}

/// What the one who waits is told.
pub enum Event {
    /// It is over.
    Done(Finished),
    /// The script wants something; the next event comes from there.
    Ask(Ask, oneshot::Receiver<Event>),
    /// Nothing will come of it any more.
    Lost(Fault),
}

impl Job {
    pub fn new(script: Arc<Script>, work: Work, events: oneshot::Sender<Event>) -> Job {
        Job {
            work: Work {
                script: script.number,
                ..work
            },
            script,
            events: Some(events),
            alone: false,
            cancelled: None,
            stopped: false,
        }
    }

    fn abandoned(&self) -> bool {
        self.events.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Tells the one who waits, if it still does.
    pub fn tell(mut self, event: Event) {
        if let Some(events) = self.events.take() {
            // Dropped if nobody waits any more.
            events.send(event).ok();
        }
    }
}

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

/// How long what is waited for, by the wall clock. The interpreter's own clock counts CPU time;
/// these are for scripts that keep it from looking.
pub struct Patience {
    /// A script that ran so long is told to stop,
    pub stop_after: Duration,
    /// and loses its host after so long.
    pub kill_after: Duration,
    /// How long a script may go on after its caller has gone.
    pub abandoned: Duration,
    /// A script that had less CPU time than this is not to blame: others keep it from running. It
    /// gets [`STARVED`] times as long.
    pub fair_share: Duration,
}

/// A host process as the pool sees it.
pub struct Host {
    /// Frames that its task has yet to write.
    pub out: Vec<u8>,
    /// Wakes its task.
    pub wake: Arc<Notify>,
    pub doom: Option<Doom>,
    pub ready: bool,
    /// The first one runs, the others wait in the host.
    jobs: VecDeque<Job>,
    knows: HashSet<u32>,
    /// The running script waits for an answer.
    blocked: bool,
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
            knows: HashSet::new(),
            blocked: false,
            since: Instant::now(),
            spent: Duration::ZERO,
            recall: Recall::No,
            pid,
            used_before: None,
        }
    }

    fn send(&mut self, frame: &ToHost) {
        frame.write(&mut self.out);
        self.wake.notify_one();
    }

    fn give(&mut self, job: Job) {
        if self.jobs.is_empty() {
            self.start_clock();
        }
        if self.knows.insert(job.script.number) {
            self.send(&ToHost::Script((*job.script).clone()));
        }
        job.write(&mut self.out);
        self.wake.notify_one();
        self.jobs.push_back(job);
    }

    fn start_clock(&mut self) {
        self.since = Instant::now();
        self.spent = Duration::ZERO;
        self.blocked = false;
        self.recall = Recall::No;
        self.used_before = None;
    }

    fn ran(&self) -> Duration {
        match self.blocked {
            true => self.spent,
            false => self.spent + self.since.elapsed(),
        }
    }

    /// How much longer than usual its script may take.
    fn allowance(&self, fair_share: Duration) -> u32 {
        match (self.used_before, cpu_time(self.pid)) {
            (Some(before), Some(now)) if now.saturating_sub(before) < fair_share => STARVED,
            _ => 1,
        }
    }

    fn is_free(&self) -> bool {
        self.ready && self.doom.is_none() && self.jobs.is_empty()
    }

    fn takes_more(&self) -> bool {
        self.ready
            && self.doom.is_none()
            && self.recall == Recall::No
            && !self.blocked
            && self.jobs.len() < AHEAD
            && !self.jobs.iter().any(|job| job.alone)
            && self.since.elapsed() < SLOW
    }

    fn recall(&mut self) {
        if self.recall == Recall::No && self.jobs.len() > 1 {
            self.recall = Recall::Asked;
            self.send(&ToHost::Recall);
        }
    }

    /// Whether the first of its calls is surely the one that ran last.
    fn culprit_known(&self) -> bool {
        self.jobs.len() == 1 || self.recall == Recall::Done
    }
}

impl Job {
    fn write(&self, out: &mut Vec<u8>) {
        ToHost::write_call(&self.work, out);
    }
}

/// All hosts and calls.
#[derive(Default)]
pub struct Floor {
    pub hosts: BTreeMap<u64, Host>,
    pub queue: VecDeque<Job>,
    pub last_job: u64,
    pub last_host: u64,
    /// No host is started before.
    pub pause: Option<Instant>,
    pub closed: bool,
}

/// Whom to tell what, once the floor is unlocked.
pub type News = Vec<(Job, Event)>;

impl Floor {
    /// Whether there is nothing to watch over.
    pub fn is_calm(&self) -> bool {
        self.queue.is_empty() && self.hosts.values().all(|host| host.jobs.is_empty())
    }

    /// Hosts that take, or soon will take, the next call.
    pub fn spare(&self) -> usize {
        let spare = |host: &&Host| {
            host.doom.is_none() && (!host.ready || host.jobs.is_empty() || host.takes_more())
        };
        self.hosts.values().filter(spare).count()
    }

    /// Hosts whose script computes, or that are about to come up.
    pub fn computing(&self) -> usize {
        let busy = |host: &&Host| !host.blocked;
        self.hosts.values().filter(busy).count()
    }

    /// Gives waiting calls to hosts, as long as one takes them.
    pub fn dispatch(&mut self) {
        while let Some(job) = self.queue.pop_front() {
            if job.abandoned() {
                continue;
            }
            let free = self.hosts.values_mut().find(|host| host.is_free());
            let host = match free {
                None if !job.alone => self
                    .hosts
                    .values_mut()
                    .filter(|host| host.takes_more())
                    .min_by_key(|host| host.jobs.len()),
                free => free,
            };
            match host {
                Some(host) => host.give(job),
                None => {
                    self.queue.push_front(job);
                    return;
                }
            }
        }
    }

    /// Puts the outcome of a question in a script's way.
    pub fn answer(&mut self, id: u64, answer: &ToHost) {
        let running = |host: &&mut Host| host.jobs.front().is_some_and(|job| job.work.id == id);
        if let Some(host) = self.hosts.values_mut().find(running) {
            host.blocked = false;
            host.since = Instant::now();
            host.send(answer);
        }
    }

    /// The caller of this call has gone.
    pub fn cancel(&mut self, id: u64) {
        self.queue.retain(|job| job.work.id != id);
        for host in self.hosts.values_mut() {
            if let Some(job) = host.jobs.iter_mut().find(|job| job.work.id == id) {
                job.events = None;
                job.cancelled = Some(Instant::now());
                host.send(&ToHost::Cancel(id));
                return;
            }
        }
    }

    /// Takes in what a host says. `None` if it says what no host says.
    pub fn hear(&mut self, host_id: u64, frame: FromHost, news: &mut News) -> Option<()> {
        let host = self.hosts.get_mut(&host_id)?;
        match frame {
            FromHost::Ready => host.ready = true,
            FromHost::Done(id, finished) => {
                let at = host.jobs.iter().position(|job| job.work.id == id)?;
                let job = host.jobs.remove(at)?;
                if at == 0 {
                    host.start_clock();
                }
                news.push((job, Event::Done(*finished)));
            }
            FromHost::Ask(id, ask) => {
                host.recall();
                host.spent = host.ran();
                host.blocked = true;
                let job = host.jobs.front_mut().filter(|job| job.work.id == id)?;
                let (sender, receiver) = oneshot::channel();
                if let Some(events) = job.events.replace(sender) {
                    events.send(Event::Ask(ask, receiver)).ok();
                } else {
                    job.events = None;
                }
            }
            FromHost::Returned(ids) => {
                host.recall = Recall::Done;
                for id in ids.into_iter().rev() {
                    let at = host.jobs.iter().position(|job| job.work.id == id)?;
                    let job = host.jobs.remove(at)?;
                    self.queue.push_front(job);
                }
            }
        }
        Some(())
    }

    /// Looks at every host: calls that are slow lose their followers, scripts that do not stop
    /// lose their host. Returns whether anything is under way.
    pub fn sweep(&mut self, limits: &Patience) -> bool {
        self.queue.retain(|job| !job.abandoned());
        for host in self.hosts.values_mut() {
            let Some(job) = host.jobs.front() else {
                continue;
            };
            let abandoned = job
                .cancelled
                .is_some_and(|at| at.elapsed() > limits.abandoned);
            let (id, stopped) = (job.work.id, job.stopped);
            if !host.blocked && host.since.elapsed() > SLOW {
                host.used_before = host.used_before.or_else(|| cpu_time(host.pid));
                host.recall();
            }
            let ran = match host.ran() {
                ran if ran > limits.stop_after => ran / host.allowance(limits.fair_share),
                ran => ran,
            };
            if ran > limits.stop_after && !stopped {
                host.send(&ToHost::Cancel(id));
                if let Some(job) = host.jobs.front_mut() {
                    job.stopped = true;
                }
            }
            if host.doom.is_none() {
                host.doom = match (ran > limits.kill_after, abandoned) {
                    (true, _) => Some(Doom::Time),
                    (false, true) => Some(Doom::Abandoned),
                    (false, false) => None,
                };
                if host.doom.is_some() {
                    host.wake.notify_one();
                }
            }
        }
        self.dispatch();
        !self.is_calm()
    }

    /// Ends hosts above `keep` that had nothing to do for so long.
    pub fn thin_out(&mut self, keep: usize, idle: Duration) {
        let mut surplus = self.hosts.len().saturating_sub(keep);
        for host in self.hosts.values_mut().rev() {
            if surplus > 0 && host.is_free() && host.since.elapsed() > idle {
                host.doom = Some(Doom::Surplus);
                host.wake.notify_one();
                surplus -= 1;
            }
        }
    }

    /// A host is gone. `verdict` is for the call that was its end; the others run elsewhere.
    ///
    /// A script does nothing but through the daemon, so a call of which nothing was heard has had
    /// no effect and may run again. Where it is not known which call was the end of the host, each
    /// runs again alone: then the next death names it.
    pub fn bury(&mut self, host_id: u64, verdict: Fault, news: &mut News) {
        let Some(mut host) = self.hosts.remove(&host_id) else {
            return;
        };
        if host.culprit_known() || host.blocked {
            news.extend(host.jobs.pop_front().map(|job| (job, Event::Lost(verdict))));
        } else {
            for job in &mut host.jobs {
                job.alone = true;
            }
        }
        for job in host.jobs.into_iter().rev() {
            self.queue.push_front(job);
        }
        self.dispatch();
    }
}

/// CPU time of a process's first thread, on which scripts run; `None` where the kernel hides it.
pub(in crate::script) fn cpu_time(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

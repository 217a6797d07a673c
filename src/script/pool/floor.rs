//! Who works on what: the hosts, the calls given to each, the calls that wait. No I/O in here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::host::{Doom, Host};
use crate::call::Fault;
use crate::script::wire::{Ask, Finished, FromHost, Script, ToHost, Work};

/// A call on its way through the pool.
pub struct Job {
    pub script: Arc<Script>,
    pub work: Work,
    /// To the one who waits for the outcome; `None` once that one has gone.
    events: Option<oneshot::Sender<Event>>,
    /// Runs alone in its host, because it was there when a host died.
    pub(super) alone: bool,
    /// It has had the daemon do something, which must not be done again.
    pub(super) asked: bool,
    pub(super) cancelled: Option<Instant>,
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
            asked: false,
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
    /// gets several times as long.
    pub fair_share: Duration,
}

/// All hosts and calls.
#[derive(Default)]
pub struct Floor {
    /// On as many hosts scripts run side by side; as many are kept free of slow ones.
    pub cores: usize,
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

    /// Hosts that take, or soon will take, the next call. One that has no room for more has it soon.
    pub fn spare(&self) -> usize {
        let spare = |host: &&Host| host.doom.is_none() && (!host.ready || host.gets_on());
        self.hosts.values().filter(spare).count()
    }

    /// Hosts whose script computes, or that are about to come up.
    pub fn computing(&self) -> usize {
        let busy = |host: &&Host| !host.blocked;
        self.hosts.values().filter(busy).count()
    }

    /// Gives waiting calls to hosts, as long as one takes them.
    pub fn dispatch(&mut self) {
        let now = Instant::now();
        while let Some(job) = self.queue.pop_front() {
            if job.abandoned() {
                continue;
            }
            match self.host_for(&job, now) {
                Some(host) => host.give(job),
                None => {
                    self.queue.push_front(job);
                    return;
                }
            }
        }
    }

    /// The host with the fewest calls, among as many as there are cores. More would run no call
    /// sooner, and each would have less to do each time it wakes; they stand in for those that are
    /// late.
    fn host_for(&mut self, job: &Job, now: Instant) -> Option<&mut Host> {
        let mut hosts = self.hosts.values_mut();
        if job.alone {
            return hosts.find(|host| host.is_free());
        }
        hosts
            .filter(|host| host.gets_on() && !host.is_late(now))
            .take(self.cores)
            .filter(|host| host.has_room())
            .min_by_key(|host| host.jobs.len())
    }

    /// Puts the outcome of a question in a script's way.
    pub fn answer(&mut self, id: u64, answer: &ToHost) {
        let running = |host: &&mut Host| host.jobs.front().is_some_and(|job| job.work.id == id);
        if let Some(host) = self.hosts.values_mut().find(running) {
            host.unblock();
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
    pub fn hear(
        &mut self,
        host_id: u64,
        frame: FromHost,
        now: Instant,
        news: &mut News,
    ) -> Option<()> {
        let host = self.hosts.get_mut(&host_id)?;
        match frame {
            FromHost::Ready => host.ready = true,
            FromHost::Done(id, finished) => {
                let (at, job) = host.take(id)?;
                if at == 0 {
                    host.next(now);
                }
                news.push((job, Event::Done(*finished)));
            }
            FromHost::Ask(id, ask) => {
                host.block();
                let job = host.jobs.front_mut().filter(|job| job.work.id == id)?;
                job.asked = true;
                let (sender, receiver) = oneshot::channel();
                if let Some(events) = job.events.replace(sender) {
                    events.send(Event::Ask(ask, receiver)).ok();
                } else {
                    job.events = None;
                }
            }
            FromHost::Returned(ids) => {
                for id in ids.into_iter().rev() {
                    let (_, job) = host.take(id)?;
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
        let now = Instant::now();
        for host in self.hosts.values_mut() {
            let Some(job) = host.jobs.front() else {
                continue;
            };
            let abandoned = host.is_abandoned(limits.abandoned);
            let (id, stopped) = (job.work.id, job.stopped);
            host.judge(now);
            let ran = match host.ran(now) {
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

    /// Ends hosts beyond one for each core that had nothing to do for so long.
    pub fn thin_out(&mut self, idle: Duration) {
        let mut surplus = self.hosts.len().saturating_sub(self.cores);
        for host in self.hosts.values_mut().rev() {
            if surplus > 0 && host.idle().is_some_and(|since| since > idle) {
                host.doom = Some(Doom::Surplus);
                host.wake.notify_one();
                surplus -= 1;
            }
        }
    }

    /// A host is gone. `verdict` is for the call that was its end; the others run elsewhere.
    ///
    /// A script does nothing but through the daemon, so a call that asked it for nothing has had no
    /// effect and may run again. Where it is not known which call was the end of the host, each
    /// runs again alone: then the next death names it.
    pub fn bury(&mut self, host_id: u64, verdict: Fault, news: &mut News) {
        let Some(mut host) = self.hosts.remove(&host_id) else {
            return;
        };
        if host.has_culprit() {
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

#[cfg(test)]
mod tests;

//! Tells a running script when to stop: its CPU time is used up, or its caller has gone.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Why a script was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The CPU time is used up.
    Time,
    /// The caller went away.
    Cancelled,
}

/// The clock of the running call. The interpreters ask it every few thousand steps.
pub struct Budget {
    limit: Duration,
    started: Cell<Instant>,
    cpu_before: Cell<Duration>,
    stop: Cell<Option<Stop>>,
    cancelled: Arc<AtomicBool>,
}

impl Budget {
    /// Of so much CPU time; `cancelled` is set from outside.
    pub fn new(limit: Duration, cancelled: Arc<AtomicBool>) -> Budget {
        Budget {
            limit,
            started: Cell::new(Instant::now()),
            cpu_before: Cell::new(cpu_time()),
            stop: Cell::new(None),
            cancelled,
        }
    }

    /// A call begins.
    pub fn begin(&self) {
        self.started.set(Instant::now());
        self.cpu_before.set(cpu_time());
        self.stop.set(None);
    }

    /// Whether the script must stop now. Once it must, it always must.
    pub fn over(&self) -> bool {
        if self.stop.get().is_some() {
            return true;
        }
        if self.cancelled.load(Ordering::Relaxed) {
            self.stop.set(Some(Stop::Cancelled));
        } else if self.started.get().elapsed() >= self.limit
            // Only then is the dearer clock worth a look: CPU time is never more than that.
            && cpu_time().saturating_sub(self.cpu_before.get()) >= self.limit
        {
            self.stop.set(Some(Stop::Time));
        }
        self.stop.get().is_some()
    }

    /// Why the script was stopped, if it was.
    pub fn stop(&self) -> Option<Stop> {
        self.stop.get()
    }

    /// The budget in words.
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

/// CPU time of this thread, on which the scripts run.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

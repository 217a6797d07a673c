//! Tells a running script when to stop: its CPU time is used up, or its caller has gone.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// One reading of the CPU clock serves the calls that begin within so small a part of the limit.
const SHARE: u32 = 64;

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
    /// When the CPU clock was read, and what it said.
    reading: Cell<(Instant, Duration)>,
    stop: Cell<Option<Stop>>,
    cancelled: Arc<AtomicBool>,
}

impl Budget {
    /// Of so much CPU time; `cancelled` is set from outside.
    pub fn new(limit: Duration, cancelled: Arc<AtomicBool>) -> Budget {
        let now = Instant::now();
        Budget {
            limit,
            started: Cell::new(now),
            reading: Cell::new((now, cpu_time())),
            stop: Cell::new(None),
            cancelled,
        }
    }

    /// A call begins.
    pub fn begin(&self) {
        let now = Instant::now();
        // The CPU clock is a system call, which is much for a short script.
        if now - self.reading.get().0 > self.limit / SHARE {
            self.reading.set((now, cpu_time()));
        }
        self.started.set(now);
        self.stop.set(None);
    }

    /// CPU time of the call, less at most one [`SHARE`]th of the limit: the time from the reading to
    /// its beginning counts as if the calls before had computed all along. They cannot have had more.
    fn used(&self) -> Duration {
        let (when, cpu) = self.reading.get();
        let before = cpu + (self.started.get() - when);
        cpu_time().saturating_sub(before)
    }

    /// Whether the script must stop now. Once it must, it always must.
    pub fn over(&self) -> bool {
        if self.stop.get().is_some() {
            return true;
        }
        if self.cancelled.load(Ordering::Relaxed) {
            self.stop.set(Some(Stop::Cancelled));
        } else if self.started.get().elapsed() >= self.limit
            // Only then is the dearer clock worth a look.
            && self.used() >= self.limit
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(64);

    fn budget() -> Budget {
        Budget::new(LIMIT, Arc::default())
    }

    /// Computes until so much CPU time is gone or the budget is over; how much it was.
    fn compute(budget: &Budget, time: Duration) -> Duration {
        let before = cpu_time();
        while cpu_time() - before < time && !budget.over() {}
        cpu_time() - before
    }

    #[test]
    fn a_script_has_all_of_its_time_and_hardly_more_whatever_ran_before_it() {
        let budget = budget();
        for quick in [0, 1, 7, 30] {
            for _ in 0..quick {
                budget.begin();
                assert!(compute(&budget, LIMIT / 200) < LIMIT);
                assert_eq!(budget.stop(), None);
            }
            budget.begin();
            let used = compute(&budget, LIMIT * 3);
            assert_eq!(budget.stop(), Some(Stop::Time));
            assert!(used >= LIMIT - LIMIT / 100, "{used:?} after {quick}");
            assert!(used < LIMIT + LIMIT / 8, "{used:?} after {quick}");
        }
    }

    #[test]
    fn waiting_is_free() {
        let budget = budget();
        budget.begin();
        let (_sender, receiver) = std::sync::mpsc::channel::<()>();
        assert!(receiver.recv_timeout(LIMIT * 2).is_err());
        assert!(!budget.over());
        budget.begin();
        assert!(compute(&budget, LIMIT / 2) < LIMIT);
        assert!(!budget.over());
    }

    #[test]
    fn a_host_that_was_idle_has_saved_nothing() {
        let budget = budget();
        let (_sender, receiver) = std::sync::mpsc::channel::<()>();
        assert!(receiver.recv_timeout(LIMIT * 4).is_err());
        budget.begin();
        let used = compute(&budget, LIMIT * 3);
        assert_eq!(budget.stop(), Some(Stop::Time));
        assert!(used < LIMIT + LIMIT / 8, "{used:?}");
    }

    #[test]
    fn a_caller_that_is_gone_ends_the_call_at_once() {
        let cancelled = Arc::new(AtomicBool::new(false));
        let budget = Budget::new(LIMIT, cancelled.clone());
        budget.begin();
        assert!(!budget.over());
        cancelled.store(true, Ordering::Relaxed);
        assert!(budget.over());
        assert_eq!(budget.stop(), Some(Stop::Cancelled));
    }
}

//! A line of those who try something in the order in which they arrived. While it goes well they
//! try side by side; when one fails, all that have not succeeded wait, and try again in the same
//! order once the first of them has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Between two tries of the first one.
const PAUSE: Duration = Duration::from_secs(1);

/// The line; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<Mutex<State>>);

struct State {
    /// Of the next who arrives.
    number: u64,
    /// Those who try now.
    trying: usize,
    /// Those who wait, in their order.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
    /// Somebody has been called and has not begun yet.
    called: bool,
    /// Whether it went well last time, so that nobody needs to wait for the outcome of another.
    well: bool,
}

/// A place in the line. Dropping it says that nothing more is to be tried here.
pub(super) struct Place {
    line: Line,
    number: u64,
    stand: Stand,
}

/// Where somebody stands.
enum Stand {
    /// Tries; the others may wait for how it goes.
    Trying { alone: bool },
    /// Will be called.
    Waiting(oneshot::Receiver<()>),
    /// Was called.
    Called,
}

impl Default for State {
    fn default() -> State {
        State {
            number: 0,
            trying: 0,
            waiting: BTreeMap::new(),
            called: false,
            well: true,
        }
    }
}

impl Line {
    /// Arrives at the end. Whoever need not wait tries at once: `attempt` is called before anybody
    /// else's, and says as well whether it may yet go well.
    pub(super) fn arrive<T>(&self, attempt: impl FnOnce() -> (T, bool)) -> (Place, Option<T>) {
        let mut state = self.0.lock();
        let number = state.number;
        state.number += 1;
        let free = state.waiting.is_empty() && state.may_call();
        let (stand, outcome) = match free {
            true => {
                let (stand, outcome) = state.attempt(number, attempt);
                (stand, Some(outcome))
            }
            false => (state.wait(number), None),
        };
        drop(state);
        let line = self.clone();
        let place = Place {
            line,
            number,
            stand,
        };
        (place, outcome)
    }
}

impl State {
    /// Whether the next may begin.
    fn may_call(&self) -> bool {
        !self.called && (self.well || self.trying == 0)
    }

    /// Within the lock, so that nobody's failure comes between the decision to try and the try.
    fn attempt<T>(&mut self, number: u64, attempt: impl FnOnce() -> (T, bool)) -> (Stand, T) {
        let (outcome, hopeful) = attempt();
        let stand = match hopeful {
            true => {
                self.trying += 1;
                Stand::Trying { alone: !self.well }
            }
            false => {
                self.well = false;
                self.wait(number)
            }
        };
        self.call_next();
        (stand, outcome)
    }

    /// Whether somebody waits who came before.
    fn is_late(&self, number: u64) -> bool {
        let first = self.waiting.keys().next();
        first.is_some_and(|first| *first < number)
    }

    fn wait(&mut self, number: u64) -> Stand {
        let (call, hears) = oneshot::channel();
        self.waiting.insert(number, call);
        Stand::Waiting(hears)
    }

    fn call_next(&mut self) {
        while self.may_call()
            && let Some((_number, call)) = self.waiting.pop_first()
        {
            // Whoever gave up the place is not there any more.
            self.called = call.send(()).is_ok();
        }
    }
}

impl Place {
    /// Whether it is to try now.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.stand, Stand::Trying { .. })
    }

    /// Its try failed: it waits, and so do all who arrived after it and have not succeeded.
    pub(super) fn failed(&mut self) {
        let mut state = self.line.0.lock();
        state.well = false;
        state.trying -= 1;
        self.stand = state.wait(self.number);
        state.call_next();
    }

    /// Waits until it is to try again, and begins: whoever comes next is called only after
    /// `attempt`, which says as well whether it may yet go well.
    pub(super) async fn again<T>(&mut self, attempt: impl FnOnce() -> (T, bool)) -> T {
        loop {
            if let Stand::Waiting(call) = &mut self.stand {
                // The line outlives its places.
                call.await.unwrap_or_default();
                self.stand = Stand::Called;
            }
            if !self.line.0.lock().well {
                tokio::time::sleep(PAUSE).await;
            }
            let mut state = self.line.0.lock();
            state.called = false;
            if !state.is_late(self.number) {
                let (stand, outcome) = state.attempt(self.number, attempt);
                self.stand = stand;
                return outcome;
            }
            // One that came before has failed since this one was called.
            self.stand = state.wait(self.number);
            state.call_next();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.line.0.lock();
        match self.stand {
            Stand::Trying { alone } => {
                state.trying -= 1;
                state.well |= alone;
            }
            Stand::Waiting(ref mut call) => {
                // It may have been called this moment.
                state.called &= call.try_recv().is_err();
                state.waiting.remove(&self.number);
            }
            Stand::Called => state.called = false,
        }
        state.call_next();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Arrives, and tries with hope if nobody waits.
    fn arrive(line: &Line) -> Place {
        line.arrive(|| ((), true)).0
    }

    /// Whether this place is called now and may begin; it does so with hope or without.
    async fn tries(place: &mut Place, hopeful: bool) -> bool {
        let trying = tokio::time::timeout(PAUSE * 2, place.again(|| ((), hopeful)));
        trying.await.is_ok()
    }

    #[test]
    fn while_all_goes_well_nobody_waits() {
        let line = Line::default();
        let places = [arrive(&line), arrive(&line), arrive(&line)];
        assert!(places.iter().all(Place::is_up));
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_goes_before_all_that_came_later() {
        let line = Line::default();
        let [mut first, mut second, third] = [arrive(&line), arrive(&line), arrive(&line)];
        // They hear of it in any order.
        second.failed();
        let mut fourth = arrive(&line);
        assert!(!fourth.is_up());
        assert!(!tries(&mut second, true).await, "the first may fail yet");
        first.failed();
        assert!(!tries(&mut first, true).await, "the third may fail yet");
        drop(third);
        assert!(tries(&mut first, true).await);
        assert!(!tries(&mut second, true).await, "the first shows how it is");
        drop(first);
        assert!(tries(&mut second, true).await);
        // Now that it goes well again nobody waits for the outcome.
        assert!(fourth.again(|| ((), true)).now_or_never().is_some());
        assert!(arrive(&line).is_up());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_at_once_holds_up_the_others_too() {
        let line = Line::default();
        let [mut first, mut second] = [arrive(&line), arrive(&line)];
        second.failed();
        first.failed();
        assert!(tries(&mut first, false).await);
        assert!(!tries(&mut second, true).await);
        assert!(tries(&mut first, true).await);
        drop(first);
        assert!(tries(&mut second, true).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_called_lets_one_go_first_that_failed_meanwhile() {
        let line = Line::default();
        let [mut first, second] = [arrive(&line), arrive(&line)];
        first.failed();
        let [mut third, mut fourth] = [arrive(&line), arrive(&line)];
        drop(second);
        assert!(tries(&mut first, true).await);
        drop(first);
        assert!(tries(&mut third, true).await);
        // The fourth is called by now.
        third.failed();
        assert!(!tries(&mut fourth, true).await, "the third comes first");
        assert!(tries(&mut third, true).await);
        drop(third);
        assert!(tries(&mut fourth, true).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_holds_nobody_up() {
        let line = Line::default();
        let [mut first, mut second, mut third] = [arrive(&line), arrive(&line), arrive(&line)];
        third.failed();
        second.failed();
        first.failed();
        drop(first);
        // Called, but not begun.
        assert!(second.again(|| ((), true)).now_or_never().is_none());
        drop(second);
        assert!(tries(&mut third, true).await);
        drop(third);
        assert!(arrive(&line).is_up());
    }
}

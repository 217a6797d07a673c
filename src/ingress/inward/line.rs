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
    /// Arrives at the end. Whoever [`Place::is_up`] tries at once, before the next arrives.
    pub(super) fn arrive(&self) -> Place {
        let mut state = self.0.lock();
        let number = state.number;
        state.number += 1;
        let free = state.waiting.is_empty() && state.may_call();
        let stand = match free {
            true => state.begin(),
            false => state.wait(number),
        };
        drop(state);
        Place {
            line: self.clone(),
            number,
            stand,
        }
    }
}

impl State {
    /// Whether the next may begin.
    fn may_call(&self) -> bool {
        !self.called && (self.well || self.trying == 0)
    }

    fn begin(&mut self) -> Stand {
        self.trying += 1;
        Stand::Trying { alone: !self.well }
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
        if let Stand::Waiting(call) = &mut self.stand {
            // The line outlives its places.
            call.await.unwrap_or_default();
            self.stand = Stand::Called;
        }
        if !self.line.0.lock().well {
            tokio::time::sleep(PAUSE).await;
        }
        let (outcome, hopeful) = attempt();
        let mut state = self.line.0.lock();
        state.called = false;
        self.stand = match hopeful {
            true => state.begin(),
            false => {
                state.well = false;
                state.wait(self.number)
            }
        };
        state.call_next();
        outcome
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

    /// Whether this place is called now and may begin; it does so with hope or without.
    async fn tries(place: &mut Place, hopeful: bool) -> bool {
        let trying = tokio::time::timeout(PAUSE * 2, place.again(|| ((), hopeful)));
        trying.await.is_ok()
    }

    #[test]
    fn while_all_goes_well_nobody_waits() {
        let line = Line::default();
        let places = [line.arrive(), line.arrive(), line.arrive()];
        assert!(places.iter().all(Place::is_up));
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_goes_before_all_that_came_later() {
        let line = Line::default();
        let [mut first, mut second, third] = [line.arrive(), line.arrive(), line.arrive()];
        // They hear of it in any order.
        second.failed();
        let mut fourth = line.arrive();
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
        assert!(line.arrive().is_up());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_at_once_holds_up_the_others_too() {
        let line = Line::default();
        let [mut first, mut second] = [line.arrive(), line.arrive()];
        second.failed();
        first.failed();
        assert!(tries(&mut first, false).await);
        assert!(!tries(&mut second, true).await);
        assert!(tries(&mut first, true).await);
        drop(first);
        assert!(tries(&mut second, true).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_holds_nobody_up() {
        let line = Line::default();
        let [mut first, mut second, mut third] = [line.arrive(), line.arrive(), line.arrive()];
        third.failed();
        second.failed();
        first.failed();
        drop(first);
        // Called, but not begun.
        assert!(second.again(|| ((), true)).now_or_never().is_none());
        drop(second);
        assert!(tries(&mut third, true).await);
        drop(third);
        assert!(line.arrive().is_up());
    }
}

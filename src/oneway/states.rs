//! What becomes of one-way calls, for those who ask by call id.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::call::CallId;

/// Calls that are over and still remembered; then the oldest are forgotten.
const REMEMBERED: usize = 100_000;

/// How far a one-way call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is on disk and waits for its turn, or for the next try.
    Queued,
    /// It is being carried out.
    Sent,
    /// It was carried out.
    Done,
    /// It cannot be carried out and lies among the dead letters.
    Dead,
}

impl State {
    fn is_over(self) -> bool {
        matches!(self, State::Done | State::Dead)
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Sent => "sent",
            State::Done => "done",
            State::Dead => "dead",
        }
    }
}

/// The calls that wait or are under way, and the latest of those that are over.
#[derive(Default)]
pub(super) struct States(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    calls: HashMap<CallId, Known>,
    over: VecDeque<CallId>,
}

struct Known {
    caller: Arc<str>,
    state: State,
    /// How often it failed by itself, not for want of somebody to carry it out.
    failures: u32,
    /// Whether it is in the queue, not just on its way there.
    kept: bool,
}

impl Inner {
    fn end(&mut self, id: CallId) {
        self.over.push_back(id);
        if self.over.len() > REMEMBERED
            && let Some(oldest) = self.over.pop_front()
        {
            self.calls.remove(&oldest);
        }
    }
}

impl States {
    /// A call came so far.
    pub(super) fn set(&self, id: CallId, caller: &Arc<str>, state: State) {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        let known = inner.calls.entry(id).or_insert_with(|| Known {
            caller: caller.clone(),
            state: State::Queued,
            failures: 0,
            kept: true,
        });
        known.kept = true;
        let before = std::mem::replace(&mut known.state, state);
        match (before.is_over(), state.is_over()) {
            (false, true) => inner.end(id),
            (true, false) => inner.over.retain(|over| *over != id),
            _ => {}
        }
    }

    /// A call is about to be kept, as if nothing had ever been known of it.
    pub(super) fn begin(&self, id: CallId, caller: &Arc<str>) {
        let mut inner = self.0.lock();
        let known = Known {
            caller: caller.clone(),
            state: State::Queued,
            failures: 0,
            kept: false,
        };
        let before = inner.calls.insert(id, known);
        if before.is_some_and(|known| known.state.is_over()) {
            inner.over.retain(|over| *over != id);
        }
    }

    /// A call is in the queue now.
    pub(super) fn kept(&self, id: CallId) {
        if let Some(known) = self.0.lock().calls.get_mut(&id) {
            known.kept = true;
        }
    }

    /// A call waits for its next try, unless it was purged meanwhile.
    pub(super) fn wait(&self, id: CallId) {
        if let Some(known) = self.0.lock().calls.get_mut(&id) {
            known.state = State::Queued;
        }
    }

    /// The queue was purged: nothing becomes of the calls that were in it.
    pub(super) fn purged(&self) {
        let mut inner = self.0.lock();
        inner
            .calls
            .retain(|_, known| known.state.is_over() || !known.kept);
    }

    /// A call was not accepted after all.
    pub(super) fn forget(&self, id: CallId) {
        self.0.lock().calls.remove(&id);
    }

    /// A call failed by itself; says how often it has, 0 if it was purged meanwhile.
    pub(super) fn failed(&self, id: CallId) -> u32 {
        let mut inner = self.0.lock();
        inner.calls.get_mut(&id).map_or(0, |known| {
            known.failures += 1;
            known.failures
        })
    }

    /// How far a call of this caller has come; `None` if nothing is known of it.
    pub(super) fn of(&self, id: CallId, caller: &str) -> Option<State> {
        let inner = self.0.lock();
        let known = inner.calls.get(&id)?;
        (*known.caller == *caller).then_some(known.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_caller_learns_of_a_call() {
        let states = States::default();
        let id = CallId::new();
        states.set(id, &"a".into(), State::Queued);
        assert_eq!(states.of(id, "b"), None);
        states.set(id, &"a".into(), State::Done);
        assert_eq!(states.of(id, "a"), Some(State::Done));
        assert_eq!(states.of(CallId::new(), "a"), None);
    }

    #[test]
    fn a_call_that_is_revived_starts_anew() {
        let states = States::default();
        let (id, caller) = (CallId::new(), "a".into());
        states.set(id, &caller, State::Queued);
        assert_eq!([states.failed(id), states.failed(id)], [1, 2]);
        states.set(id, &caller, State::Dead);
        states.begin(id, &caller);
        assert_eq!(states.failed(id), 1);
        // Those that are over later push out only each other.
        for _ in 0..=REMEMBERED {
            states.set(CallId::new(), &caller, State::Done);
        }
        assert_eq!(states.of(id, "a"), Some(State::Queued));
    }

    #[test]
    fn what_is_purged_is_forgotten_but_for_what_is_over() {
        let states = States::default();
        let caller = "a".into();
        let ids = [0; 4].map(|_| CallId::new());
        let [waits, sent, coming, done] = ids;
        for id in ids {
            states.begin(id, &caller);
        }
        states.kept(waits);
        states.set(sent, &caller, State::Sent);
        states.set(done, &caller, State::Done);
        states.purged();
        states.wait(sent);
        assert_eq!(states.failed(sent), 0);
        let known = ids.map(|id| states.of(id, "a"));
        assert_eq!(known, [None, None, Some(State::Queued), Some(State::Done)]);
        states.kept(coming);
        states.purged();
        assert_eq!(states.of(coming, "a"), None);
    }

    #[test]
    fn what_is_over_is_forgotten_in_time() {
        let states = States::default();
        let ids: Vec<_> = (0..=REMEMBERED).map(|_| CallId::new()).collect();
        for id in &ids {
            states.set(*id, &"a".into(), State::Done);
        }
        assert_eq!(states.of(ids[0], "a"), None);
        assert_eq!(states.of(ids[1], "a"), Some(State::Done));
        assert_eq!(states.0.lock().calls.len(), REMEMBERED);
    }
}

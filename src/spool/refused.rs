//! What could not be kept, until whoever wanted it kept has heard of that. Before, nothing else of
//! its lane is kept: it would overtake what is tried again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::Lane;
use super::shared::Shared;
use crate::call::Fault;

/// A lane of a queue, named by the queue's place.
pub(super) type LaneOf = (usize, u64);

/// The lanes that keep nothing, and how many have not heard yet.
#[derive(Default)]
pub(super) struct Closed(HashMap<LaneOf, usize>);

/// The lane that a record shares with others, if it does.
pub(super) fn lane_of(queue: usize, lane: Lane) -> Option<LaneOf> {
    match lane {
        Lane::Own => None,
        Lane::Named(lane) => Some((queue, lane)),
    }
}

impl Closed {
    /// Whether nothing of this lane may be kept now.
    pub(super) fn has(&self, queue: usize, lane: Lane) -> bool {
        !self.0.is_empty() && lane_of(queue, lane).is_some_and(|lane| self.0.contains_key(&lane))
    }

    /// One more that has not heard.
    pub(super) fn close(&mut self, lane: LaneOf) {
        *self.0.entry(lane).or_default() += 1;
    }

    fn open(&mut self, lane: LaneOf) {
        if let Some(unheard) = self.0.get_mut(&lane) {
            *unheard -= 1;
            if *unheard == 0 {
                self.0.remove(&lane);
            }
        }
    }
}

/// Why a record was not kept. Until this is dropped nothing else of its lane is kept: whoever
/// keeps an order of its own holds it until what follows is held up there.
pub struct Unkept {
    /// What is told to whoever sent it.
    pub fault: Fault,
    closed: Option<Reopens>,
}

/// Opens a lane when it is dropped.
struct Reopens {
    lane: LaneOf,
    shared: Arc<Shared>,
}

impl Unkept {
    /// For a record whose lane was closed.
    pub(super) fn new(fault: Fault, lane: Option<LaneOf>, shared: &Arc<Shared>) -> Unkept {
        let shared = shared.clone();
        let closed = lane.map(|lane| Reopens { lane, shared });
        Unkept { fault, closed }
    }
}

impl From<Fault> for Unkept {
    /// It holds up nothing.
    fn from(fault: Fault) -> Unkept {
        let closed = None;
        Unkept { fault, closed }
    }
}

impl From<Unkept> for Fault {
    fn from(unkept: Unkept) -> Fault {
        unkept.fault
    }
}

impl fmt::Debug for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = self.closed.is_some();
        write!(f, "Unkept({:?}, holds up others: {holds})", self.fault)
    }
}

impl Drop for Reopens {
    fn drop(&mut self) {
        self.shared.state().closed.open(self.lane);
    }
}

//! What could not be kept, until whoever wanted it kept has heard of that. Before, nothing else of
//! its lane is kept: it would overtake what is tried again.

use std::collections::HashMap;
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

/// A refusal on its way to whoever has to hear it; dropping it says that this is done.
pub(super) struct Unheard {
    pub fault: Fault,
    lane: Option<LaneOf>,
    shared: Arc<Shared>,
}

impl Unheard {
    /// For a record whose lane was closed.
    pub(super) fn new(fault: Fault, lane: Option<LaneOf>, shared: &Arc<Shared>) -> Unheard {
        Unheard {
            fault,
            lane,
            shared: shared.clone(),
        }
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        if let Some(lane) = self.lane {
            self.shared.state().closed.open(lane);
        }
    }
}

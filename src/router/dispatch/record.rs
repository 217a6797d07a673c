//! The record of one call: counted from its start to its end.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::Dispatcher;
use crate::call::{Call, CallId, Kind, Via};

/// Counts a call from its start to its end, also when its future is dropped in between.
pub(super) struct Record<'a> {
    dispatcher: &'a Dispatcher,
    id: CallId,
    via: Via,
    pub(super) target: &'static str,
    pub(super) outcome: &'static str,
    started: Instant,
}

impl<'a> Record<'a> {
    pub(super) fn start(dispatcher: &'a Dispatcher, call: &Call, now: Instant) -> Record<'a> {
        dispatcher.in_flight.fetch_add(1, Ordering::Relaxed);
        Record {
            dispatcher,
            id: call.id,
            via: call.via,
            target: "none",
            // What stands here if the future is dropped.
            outcome: Kind::Cancelled.as_str(),
            started: now,
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let Record {
            dispatcher,
            id,
            via,
            target,
            outcome,
            started,
        } = self;
        dispatcher.in_flight.fetch_sub(1, Ordering::Relaxed);
        let took = started.elapsed();
        dispatcher
            .metrics
            .call_done(via.as_str(), target, outcome, took);
        tracing::debug!(call_id = %id, via = via.as_str(), target, outcome, ?took, "call over");
    }
}

//! Takes up calls that came over a bus and that nobody waits for: each is settled once it is on
//! disk. One that cannot be kept now is held, because a broker would send it again right away, or
//! give up on it.

use std::time::Duration;

use crate::call::{Call, Fault, Kind};
use crate::context::Context;
use crate::store::Letter;

/// Between two tries to keep what could not be kept.
const PAUSE: Duration = Duration::from_secs(1);

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is kept, delivered, or of no use: it is acknowledged.
    Done,
    /// callway stops before it could be kept: the bus is to deliver it again.
    Again,
}

/// Accepts a call, trying until it is kept or callway stops.
///
/// Returns the fault if it can never be accepted; `timeout` if its deadline had passed on arrival.
pub(super) async fn accept(context: &Context, call: &Call) -> Result<Settled, Fault> {
    if call.deadline.passed() {
        let why = "the deadline of the call had passed when it came";
        return Err(Fault::new(Kind::Timeout, why));
    }
    loop {
        // Its own deadline says how long it is of use, not how long the disk may take: a try that
        // was given up may still get there, and would be made twice.
        let deadline = context.dispatcher.deadline(None);
        let call = Call {
            deadline,
            ..call.clone()
        };
        match context.dispatcher.accept(call).await {
            Ok(_receipt) => return Ok(Settled::Done),
            Err(fault) if fault.may_pass() => {
                tracing::debug!(%fault, "a call cannot be accepted now");
            }
            Err(fault) => return Err(fault),
        }
        if let Some(settled) = pause(context).await {
            return Ok(settled);
        }
    }
}

/// Keeps a letter, trying until it is kept or callway stops.
pub(super) async fn bury(context: &Context, letter: Letter) -> Settled {
    loop {
        if context.bury(letter.clone()).await.is_ok() {
            return Settled::Done;
        }
        if let Some(settled) = pause(context).await {
            return settled;
        }
    }
}

/// Waits for the next try; tells if there is none, because callway stops.
pub(super) async fn pause(context: &Context) -> Option<Settled> {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => None,
        () = context.drain.cancelled() => Some(Settled::Again),
    }
}

//! Reading a request's body: bounded in size and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use crate::call::{Fault, Kind};

/// A body that is too large is read on and thrown away up to this many times the limit: a client
/// that is still sending would otherwise lose the answer with its connection.
const INDULGENCE: usize = 4;
/// And for at most this long.
const LINGER: Duration = Duration::from_secs(1);

/// Reads the whole body, of at most `max` bytes, within this time.
///
/// Returns `too_large`, `timeout` (as 408), or `parse_error` for a body that ends early. A client
/// that `waits` for leave to send (RFC 9110 §10.1.1) gets none for a body that is too large.
pub(super) async fn read(
    mut body: Incoming,
    max: usize,
    within: Duration,
    waits: bool,
) -> Result<Bytes, Fault> {
    match timeout(within, collect(&mut body, max)).await {
        Ok(Err(fault)) if fault.kind == Kind::TooLarge => {
            if !waits {
                let discarding = discard(&mut body, max.saturating_mul(INDULGENCE));
                // The answer is the same whether or not its end was reached.
                timeout(within.min(LINGER), discarding).await.ok();
            }
            Err(fault)
        }
        Ok(outcome) => outcome,
        Err(_elapsed) => {
            let message = "the body took too long to arrive; see limits.handshake";
            Err(Fault::new(Kind::Timeout, message).with_http_status(408))
        }
    }
}

async fn collect(body: &mut Incoming, max: usize) -> Result<Bytes, Fault> {
    let too_large = || {
        let message = format!("the body has more than {max} bytes; see limits.message");
        Fault::new(Kind::TooLarge, message)
    };
    let announced = body.size_hint().lower();
    if announced > max as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::with_capacity(announced as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_broken| Fault::new(Kind::ParseError, "the body ends before its length"))?;
        let Ok(data) = frame.into_data() else {
            continue; // trailers
        };
        if whole.len() + data.len() > max {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

async fn discard(body: &mut Incoming, max: usize) {
    let mut left = Some(max);
    while let (Some(max), Some(Ok(frame))) = (left, body.frame().await) {
        left = max.checked_sub(frame.data_ref().map_or(0, Bytes::len));
    }
}

//! One-way calls over HTTP: their receipts, and `GET /calls/<call_id>`.

use super::message::{Answer, Head};
use crate::call::{CallId, Fault, Kind, Reply};
use crate::oneway::State;

/// The first segment of paths that name a one-way call.
const PREFIX: &str = "calls/";

/// The call whose state is asked for, if the path names one.
pub(super) fn read(head: &Head) -> Result<Option<CallId>, Fault> {
    let Some(id) = head.path.strip_prefix(PREFIX).filter(|_| head.is_get()) else {
        return Ok(None);
    };
    let id = CallId::parse(id);
    id.map(Some)
        .ok_or_else(|| Fault::new(Kind::MethodNotFound, "this is no call id"))
}

/// The answer to a call that was accepted, and says where its state is.
pub(super) fn receipt(head: &Head, id: CallId, reply: &Reply) -> Answer {
    let body = reply.payload.bytes().clone();
    Answer::new(202, reply.payload.content_type(), body)
        .with("location", format!("{}{PREFIX}{id}", head.base))
}

/// The answer to who asked how far a call has come.
pub fn state(id: CallId, state: State) -> Answer {
    let value = serde_json::json!({ "call_id": id.to_string(), "state": state.as_str() });
    Answer::new(200, "application/json", value.to_string()).with("cache-control", "no-store")
}

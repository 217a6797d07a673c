//! What a row does with a call that was let in.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::call::{Call, Fault, Form, Kind, Outcome, Payload};
use crate::config::Retry;
use crate::link::Backoff;
use crate::router::{Captures, Row};

/// Characters of a schema's refusal that are shown.
const LONGEST_REFUSAL: usize = 300;

/// Asks the target, as often as the row says, and looks at its result.
pub(super) async fn carry_out(call: &Call, row: &Row) -> Outcome {
    let captures = row.route.pattern.captures(&call.method);
    let reply = match row.route.retry {
        None => guarded(call, row, &captures).await?,
        Some(retry) => Box::pin(with_retry(retry, call, row, &captures)).await?,
    };
    let schema = row.route.schema.result.as_deref();
    check_schema(schema, &reply.payload, Kind::TargetError)?;
    Ok(reply)
}

/// A panic in a target is a defect of callway: the call fails, nobody else notices.
async fn guarded(call: &Call, row: &Row, captures: &Captures) -> Outcome {
    match AssertUnwindSafe(row.target.call(call, captures))
        .catch_unwind()
        .await
    {
        Ok(outcome) => outcome,
        Err(_panic) => {
            tracing::error!(call_id = %call.id, method = %call.method, "a target panicked");
            Err(Fault::new(
                Kind::Internal,
                "a defect of callway; its log has this call's id",
            ))
        }
    }
}

/// Only what was surely not handed over is tried again, and only within the deadline.
async fn with_retry(retry: Retry, call: &Call, row: &Row, captures: &Captures) -> Outcome {
    let mut backoff = Backoff::new(retry.backoff, call.deadline.remaining());
    for _ in 1..retry.attempts {
        match guarded(call, row, captures).await {
            Err(fault) if fault.may_retry() => tokio::time::sleep(backoff.next()).await,
            outcome => return outcome,
        }
    }
    guarded(call, row, captures).await
}

/// Compares a payload with a schema, if there is one. Returns a fault of this kind.
pub(super) fn check_schema(
    schema: Option<&jsonschema::Validator>,
    payload: &Payload,
    kind: Kind,
) -> Result<(), Fault> {
    let Some(schema) = schema else { return Ok(()) };
    let value = match payload.form() {
        Form::Json => payload.to_value(),
        _ => serde_json::Value::String(String::from_utf8_lossy(payload.bytes()).into_owned()),
    };
    schema.validate(&value).map_err(|error| {
        let path = error.instance_path().to_string();
        // The value itself is left out: it may be long, and a result is not for everyone.
        let why = shortened(error.masked().to_string());
        Fault::new(kind, why).with_data(&serde_json::json!({ "path": path }))
    })
}

/// A message that stays one: what a schema refuses may be a member with any name.
fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(LONGEST_REFUSAL) {
        message.truncate(end);
        message.push('…');
    }
    message
}

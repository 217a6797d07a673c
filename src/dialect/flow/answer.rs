//! The answers of Flow.ai's HTTP forms: `{"status","payload"}`.

use serde_json::{Value, json};

use crate::auth::Secret;
use crate::call::Fault;
use crate::dialect::http::Answer;

/// What was asked for.
pub fn ok(payload: &Value) -> Answer {
    whole(200, &json!({ "status": "ok", "payload": payload }))
}

/// The same, with the secret that a thread just got.
pub fn with_secret(payload: &Value, secret: Option<&Secret>) -> Answer {
    match secret {
        None => ok(payload),
        Some(secret) => {
            let secret = secret.expose();
            let body = json!({ "status": "ok", "payload": payload, "secret": secret });
            whole(200, &body)
        }
    }
}

/// A refusal in the words of a fault. 400 and 401 are what clients give up on.
pub fn refuse(fault: &Fault) -> Answer {
    error(fault.status(), &fault.message).with_retry_after(fault)
}

/// A refusal.
pub fn error(status: u16, message: &str) -> Answer {
    let body = json!({ "status": "error", "payload": { "message": message } });
    whole(status, &body)
}

/// Anything, never to be stored on the way.
pub(super) fn whole(status: u16, body: &Value) -> Answer {
    Answer::new(status, "application/json", body.to_string()).with("cache-control", "no-store")
}

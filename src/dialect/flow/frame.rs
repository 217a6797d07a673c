//! The frames `{type, payload}` of the WebSocket, as clients send them and as they read them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Message, Thread};
use crate::auth::Secret;
use crate::call::Text;
use crate::config::FlowOptions;

/// What clients know a broken frame by.
const INVALID: &str = "Invalid message format";

#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    payload: Option<Value>,
}

/// What a client sent.
pub(super) enum Frame {
    /// A message of its user.
    Send(Box<Message>),
    /// It is still there.
    Ping,
    /// Its user has seen this thread.
    Noticed(Thread),
    /// Nothing that anybody waits for: the user types, or the client has something to log.
    Idle,
}

/// Reads a frame. The error is what the client is told.
pub(super) fn read(options: &FlowOptions, frame: &[u8]) -> Result<Frame, String> {
    let Shape { kind, payload } = match serde_json::from_slice(frame) {
        Ok(shape) => shape,
        Err(error) if error.is_data() => {
            return Err(format!("{INVALID}: a frame is {{type, payload}}"));
        }
        Err(error) => return Err(format!("{INVALID}: not JSON: {error}")),
    };
    match kind.as_str() {
        "message.send" => match Message::read(options, payload) {
            Ok(message) => Ok(Frame::Send(Box::new(message))),
            Err(why) => Err(format!("{INVALID}: {why}")),
        },
        "ping" => Ok(Frame::Ping),
        "thread.noticed" => match payload
            .as_ref()
            .and_then(|payload| payload["threadId"].as_str())
        {
            Some(thread) => match Thread::named(options, thread) {
                Ok(thread) => Ok(Frame::Noticed(thread)),
                Err(why) => Err(format!("{INVALID}: {}", why.message)),
            },
            None => Err(format!("{INVALID}: threadId is missing")),
        },
        "activity.user.typing" | "log" => match payload {
            Some(Value::Object(_)) => Ok(Frame::Idle),
            _ => Err(format!("{INVALID}: the payload is not an object")),
        },
        _ => {
            let shown: String = kind.chars().take(64).collect();
            Err(format!("Unknown message type {shown:?}"))
        }
    }
}

/// What callway sends: a type and a payload.
pub(super) fn write(kind: &str, payload: &Value) -> Text {
    json!({ "type": kind, "payload": payload })
        .to_string()
        .into()
}

/// The answer to a ping, which has no payload.
pub(super) fn pong() -> Text {
    r#"{"type":"pong"}"#.to_owned().into()
}

/// Something went wrong; this has a message in place of a payload.
pub(super) fn error(message: &str) -> Text {
    json!({ "type": "error", "message": message })
        .to_string()
        .into()
}

/// A thread has got its secret.
pub(super) fn secret(secret: &Secret) -> Text {
    let message = json!({ "secret": secret.expose() });
    let frame = json!({ "type": "secret.generated", "message": message });
    frame.to_string().into()
}

//! The envelope: one call, whoever makes it and whatever answers it, and its one outcome.
//!
//! A call is cancelled by dropping the future that carries it: every layer below holds a guard
//! that tidies up after it (a pending reply is forgotten, a worker is told). So a call has exactly
//! one outcome by construction: whoever awaits the future gets it, or has gone away.

pub mod beside;
mod clock;
mod deadline;
mod duration;
mod fault;
mod hex;
pub mod parcel;
mod payload;
mod pending;
mod random;
mod scan;
mod text;
mod trace;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::{Builder, Uuid};

pub use self::clock::{rfc3339, unix_ms};
pub use self::deadline::Deadline;
pub use self::duration::parse_duration;
pub use self::fault::{Fault, Kind};
pub use self::hex::from_hex;
pub use self::payload::{Form, Payload};
pub use self::pending::{Pending, PendingReply};
pub use self::random::random_bits;
pub use self::scan::{Defect, scan};
pub use self::text::Text;
pub use self::trace::is_traceparent;
use crate::auth::Caller;

/// What a call comes to.
pub type Outcome = Result<Reply, Fault>;

/// A new UUID version 7 (RFC 9562): such ids sort by time.
pub fn ordered_id() -> Uuid {
    match random_bits() {
        Some(bits) => {
            let [random @ .., _, _, _, _, _, _] = bits.to_ne_bytes();
            Builder::from_unix_timestamp_millis(unix_ms(), &random).into_uuid()
        }
        None => Uuid::now_v7(),
    }
}

/// Names one call in replies, logs and traces. UUID version 7 (RFC 9562), so ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(Uuid);

impl CallId {
    /// A new id.
    pub fn new() -> CallId {
        CallId(ordered_id())
    }

    /// Its 16 bytes, as RFC 9562 §4 has them.
    pub fn bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> CallId {
        CallId(Uuid::from_bytes(bytes))
    }

    /// The id that a daemon wrote into a fault.
    pub fn parse(text: &str) -> Option<CallId> {
        Uuid::try_parse(text).ok().map(CallId)
    }
}

impl Default for CallId {
    fn default() -> CallId {
        CallId::new()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The kind of transport over which a call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Via {
    Ws,
    Http,
    Mqtt,
    Amqp,
    Script,
}

impl Via {
    /// The label in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Via::Ws => "ws",
            Via::Http => "http",
            Via::Mqtt => "mqtt",
            Via::Amqp => "amqp",
            Via::Script => "script",
        }
    }
}

/// One request for a method.
#[derive(Clone, Debug)]
pub struct Call {
    /// Names this call everywhere.
    pub id: CallId,
    /// The method as the caller wrote it; the dispatcher checks that it is a name.
    pub method: Arc<str>,
    /// What the method is called with; the dispatcher settles its form.
    pub params: Payload,
    /// Who calls.
    pub caller: Caller,
    /// Over which kind of transport.
    pub via: Via,
    /// When the caller stops waiting. The dispatcher bounds it by the route and the limits.
    pub deadline: Deadline,
    /// How often this request has passed through callway already.
    pub hops: u32,
    /// W3C Trace Context `traceparent`, well formed, handed on as it came.
    pub traceparent: Option<Arc<str>>,
    /// An idempotency key: a repeat with the same one gets the first outcome, within the caller and
    /// the method.
    pub key: Option<Arc<str>>,
    /// What HTTP callers sent beside the params; scripts see it as `request.headers` and so on.
    pub http: Option<Arc<HttpParts>>,
    /// Where interim news of the responder go, if the caller can take them.
    pub progress: Option<Progress>,
}

/// The parts of an HTTP request that scripts may look at. Credentials are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpParts {
    /// `GET`, `POST`, ….
    pub verb: String,
    /// The path below the endpoint, decoded, with its leading slash.
    pub path: String,
    /// The query without credentials.
    pub query: String,
    /// Header names in lower case, without credentials.
    pub headers: Vec<(String, String)>,
    /// The body as it came, where the params were made from something else (a form, a query).
    pub raw_body: Option<Bytes>,
    /// The files that were sent, by the names of their fields, as a JSON object.
    pub files: Option<Bytes>,
}

/// Takes interim news (`callway.progress`) of one call to its caller.
#[derive(Clone)]
pub struct Progress {
    sink: Arc<ProgressSink>,
    number: u64,
}

/// Takes the news of all calls of one caller, by the numbers that they have there. It must not
/// block, and may drop news that the caller is too slow to read.
pub type ProgressSink = dyn Fn(u64, Box<RawValue>) + Send + Sync;

impl Progress {
    /// Of the call with this number.
    pub fn new(sink: Arc<ProgressSink>, number: u64) -> Progress {
        Progress { sink, number }
    }

    /// Hands over one piece of news.
    pub fn send(&self, data: Box<RawValue>) {
        (self.sink)(self.number, data);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// The successful outcome of a call.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The result.
    pub payload: Payload,
    /// What a script did beside returning a result.
    pub script: Option<Box<ScriptReply>>,
    /// Set if the call was only accepted: it is on disk and carried out later.
    pub receipt: Option<CallId>,
}

impl Reply {
    /// A plain result.
    pub fn new(payload: Payload) -> Reply {
        Reply {
            payload,
            script: None,
            receipt: None,
        }
    }

    /// What the caller of a one-way call gets once it is on disk.
    pub fn receipt(id: CallId) -> Reply {
        let receipt = serde_json::json!({ "call_id": id.to_string(), "state": "queued" });
        Reply {
            receipt: Some(id),
            ..Reply::new(Payload::from_value(&receipt))
        }
    }
}

/// What a script did beside returning a result.
#[derive(Clone, Debug, Default)]
pub struct ScriptReply {
    /// What it wrote with `console`, as JSON objects `{timestamp, level, message}`.
    pub log: Vec<Box<RawValue>>,
    /// The HTTP response it built with `response`, which takes the place of the usual one.
    pub response: Option<ScriptResponse>,
}

/// An HTTP response that a script built.
#[derive(Clone, Debug)]
pub struct ScriptResponse {
    /// The status code, 200 unless set.
    pub status: u16,
    /// Header fields in the order in which they were set.
    pub headers: Vec<(String, String)>,
    /// What was written.
    pub body: Bytes,
}

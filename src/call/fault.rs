//! The one table of errors: what went wrong, in the words and codes of every transport.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::CallId;

/// What went wrong with a call. The name is the wire contract; texts may change, kinds do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // each variant is described by the row of the table below
pub enum Kind {
    ParseError,
    InvalidRequest,
    MethodNotFound,
    InvalidParams,
    Internal,
    Unauthenticated,
    Forbidden,
    Timeout,
    Unavailable,
    NoResponder,
    Overloaded,
    TooLarge,
    ScriptError,
    ScriptLimit,
    TargetError,
    Cancelled,
    ShuttingDown,
}

struct Row {
    kind: Kind,
    name: &'static str,
    jsonrpc: i32,
    http: u16,
    title: &'static str,
}

const fn row(kind: Kind, name: &'static str, jsonrpc: i32, http: u16, title: &'static str) -> Row {
    Row {
        kind,
        name,
        jsonrpc,
        http,
        title,
    }
}

/// In the order of [`Kind`], so that a kind is its own index.
const TABLE: [Row; 17] = [
    row(
        Kind::ParseError,
        "parse_error",
        -32700,
        400,
        "Not JSON, or not the protocol",
    ),
    row(
        Kind::InvalidRequest,
        "invalid_request",
        -32600,
        400,
        "Not a valid call",
    ),
    row(
        Kind::MethodNotFound,
        "method_not_found",
        -32601,
        404,
        "Method not found",
    ),
    row(
        Kind::InvalidParams,
        "invalid_params",
        -32602,
        400,
        "Invalid params",
    ),
    row(Kind::Internal, "internal", -32603, 500, "Internal error"),
    row(
        Kind::Unauthenticated,
        "unauthenticated",
        -32001,
        401,
        "Unauthenticated",
    ),
    row(Kind::Forbidden, "forbidden", -32002, 403, "Forbidden"),
    row(Kind::Timeout, "timeout", -32003, 504, "The deadline passed"),
    row(Kind::Unavailable, "unavailable", -32004, 503, "Unavailable"),
    row(
        Kind::NoResponder,
        "no_responder",
        -32005,
        503,
        "Nobody answers this method",
    ),
    row(Kind::Overloaded, "overloaded", -32006, 503, "Overloaded"),
    row(Kind::TooLarge, "too_large", -32007, 413, "Too large"),
    row(
        Kind::ScriptError,
        "script_error",
        -32010,
        500,
        "The script failed",
    ),
    row(
        Kind::ScriptLimit,
        "script_limit",
        -32011,
        500,
        "The script used up its budget",
    ),
    row(
        Kind::TargetError,
        "target_error",
        -32012,
        502,
        "The responder answered with an error",
    ),
    row(Kind::Cancelled, "cancelled", -32013, 499, "Cancelled"),
    row(
        Kind::ShuttingDown,
        "shutting_down",
        -32014,
        503,
        "Shutting down",
    ),
];

impl Kind {
    /// Every kind, in the order of the table.
    pub fn all() -> impl Iterator<Item = Kind> {
        TABLE.iter().map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The name on the wire, such as `no_responder`.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The JSON-RPC 2.0 error code.
    pub fn jsonrpc_code(self) -> i32 {
        self.row().jsonrpc
    }

    /// The HTTP status without regard to what a single fault may refine (see [`Fault::status`]).
    pub fn http_status(self) -> u16 {
        self.row().http
    }

    /// A short heading for people (the `title` of RFC 9457).
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// The kind with this wire name.
    pub fn from_name(name: &str) -> Option<Kind> {
        TABLE
            .iter()
            .find(|row| row.name == name)
            .map(|row| row.kind)
    }

    /// The kind with this JSON-RPC code.
    pub fn from_jsonrpc_code(code: i64) -> Option<Kind> {
        TABLE
            .iter()
            .find(|row| i64::from(row.jsonrpc) == code)
            .map(|row| row.kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The failed outcome of a call: a kind, a message that is safe to show, and hints.
///
/// The message never holds a secret nor an inner detail; those go to the log under the call id.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What went wrong.
    pub kind: Kind,
    /// Short, safe to show, and says what to do next where that helps.
    pub message: Cow<'static, str>,
    /// The call it belongs to; set by the dispatcher, absent if no call came to be.
    pub call_id: Option<CallId>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// JSON text with details for programs: a responder's error body, a path, a reason.
    pub data: Option<Bytes>,
    /// The HTTP status where it differs from the kind's own.
    status: Option<u16>,
    /// Whether the request may have reached the responder, which rules out trying again.
    handed_over: bool,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault {
            kind,
            message: message.into(),
            call_id: None,
            retry_after: None,
            data: None,
            status: None,
            handed_over: false,
        }
    }

    /// `unavailable` with its machine-readable reason (`data.reason`) and a hint when to retry.
    pub fn unavailable(reason: &str, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(Kind::Unavailable, message)
            .with_data(&serde_json::json!({ "reason": reason }))
            .with_retry_after(Duration::from_secs(1))
    }

    /// The machine-readable reason of `unavailable`.
    pub fn reason(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Data {
            reason: String,
        }
        let data: Data = serde_json::from_slice(self.data.as_ref()?).ok()?;
        Some(data.reason)
    }

    /// `overloaded` because this caller is over its own rate: HTTP 429 instead of 503.
    pub fn over_own_rate(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Fault {
        let mut fault = Fault::new(Kind::Overloaded, message).with_retry_after(retry_after);
        fault.status = Some(429);
        fault
    }

    /// Adds details as JSON.
    pub fn with_data(mut self, data: &Value) -> Fault {
        self.data = Some(Bytes::from(data.to_string()));
        self
    }

    /// Adds details that are JSON text already.
    pub fn with_raw_data(mut self, data: Bytes) -> Fault {
        self.data = Some(data);
        self
    }

    /// Adds the hint when to try again.
    pub fn with_retry_after(mut self, after: Duration) -> Fault {
        self.retry_after = Some(after);
        self
    }

    /// Refines the HTTP status, where HTTP has a more exact one than the kind's own.
    pub fn with_http_status(mut self, status: u16) -> Fault {
        self.status = Some(status);
        self
    }

    /// Marks that the request may have been carried out although it failed.
    pub fn handed_over(mut self) -> Fault {
        self.handed_over = true;
        self
    }

    /// The end of the process is near: another one, or another member of the cluster, takes it.
    pub fn shutting_down() -> Fault {
        Fault::new(Kind::ShuttingDown, "callway is shutting down")
            .with_retry_after(Duration::from_secs(1))
    }

    /// Whether what could not be kept now may be kept later, however often that is tried.
    pub fn may_pass(&self) -> bool {
        let passing = matches!(
            self.kind,
            Kind::Unavailable
                | Kind::Overloaded
                | Kind::ShuttingDown
                | Kind::Timeout
                | Kind::Internal
        );
        passing && !self.handed_over
    }

    /// Whether the same call may be tried again: nothing was handed over and the cause may pass.
    pub fn may_retry(&self) -> bool {
        !self.handed_over && matches!(self.kind, Kind::Unavailable | Kind::NoResponder)
    }

    /// The HTTP status of this fault.
    pub fn status(&self) -> u16 {
        self.status.unwrap_or(self.kind.http_status())
    }

    /// `retry_after` in whole seconds, rounded up, as RFC 9110 §10.2.3 wants it.
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after
            .map(|d| d.as_millis().div_ceil(1000).max(1) as u64)
    }

    /// `{"kind","message","call_id","retry_after"?,"data"?}`: the bare form of MQTT and AMQP.
    pub fn to_json(&self) -> Bytes {
        let mut object = Map::new();
        object.insert("kind".into(), self.kind.as_str().into());
        object.insert("message".into(), self.message.as_ref().into());
        self.add_hints(&mut object, "data");
        Bytes::from(Value::Object(object).to_string())
    }

    /// Adds `call_id`, `retry_after` (seconds) and the details under `data_key` to an object.
    pub fn add_hints(&self, object: &mut Map<String, Value>, data_key: &str) {
        if let Some(id) = self.call_id {
            object.insert("call_id".into(), id.to_string().into());
        }
        if let Some(secs) = self.retry_after_secs() {
            object.insert("retry_after".into(), secs.into());
        }
        if let Some(data) = &self.data {
            // Details come from responders: what is not JSON after all is shown as text.
            let value = serde_json::from_slice(data)
                .unwrap_or_else(|_| String::from_utf8_lossy(data).into_owned().into());
            object.insert(data_key.into(), value);
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_the_index_of_its_row() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.kind as usize, index);
            assert_eq!(Kind::from_name(row.name), Some(row.kind));
            assert_eq!(Kind::from_jsonrpc_code(row.jsonrpc.into()), Some(row.kind));
        }
    }

    #[test]
    fn a_request_that_was_handed_over_is_not_tried_again() {
        let fault = Fault::unavailable("link_lost", "the broker went away");
        assert!(fault.may_retry());
        assert!(!fault.handed_over().may_retry());
        assert!(!Fault::new(Kind::Timeout, "late").may_retry());
    }

    #[test]
    fn retry_after_is_never_zero_seconds() {
        let fault = Fault::over_own_rate("slow down", Duration::from_millis(20));
        assert_eq!(fault.retry_after_secs(), Some(1));
        assert_eq!(fault.status(), 429);
    }
}

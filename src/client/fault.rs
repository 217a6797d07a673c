//! Reads faults back from their wire forms. What a stranger answers is never believed to be more
//! than a `target_error` or what its status says.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call::{CallId, Fault, Kind};

#[derive(Deserialize)]
struct Jsonrpc<'a> {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What the forms have in common.
#[derive(Default, Deserialize)]
struct Hints<'a> {
    kind: Option<String>,
    message: Option<String>,
    call_id: Option<String>,
    retry_after: Option<u64>,
    /// JSON-RPC: the details. HTTP: the message.
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> Hints<'a> {
    fn read(text: &'a str) -> Hints<'a> {
        serde_json::from_str(text).unwrap_or_default()
    }

    fn kind(&self) -> Option<Kind> {
        Kind::from_name(self.kind.as_deref()?)
    }

    fn fault(&self, kind: Kind, message: String, details: Option<&RawValue>) -> Fault {
        let mut fault = Fault::new(kind, message);
        fault.call_id = self.call_id.as_deref().and_then(CallId::parse);
        fault.retry_after = self.retry_after.map(Duration::from_secs);
        fault.data = details.map(|text| Bytes::copy_from_slice(text.get().as_bytes()));
        fault
    }
}

/// The `error` member of a JSON-RPC response.
pub fn from_jsonrpc(text: &str) -> Fault {
    let Ok(error) = serde_json::from_str::<Jsonrpc>(text) else {
        return Fault::new(Kind::TargetError, "the answer's error is not JSON-RPC");
    };
    let hints = error
        .data
        .map_or_else(Hints::default, |data| Hints::read(data.get()));
    let known = hints.kind();
    let kind = known
        .or_else(|| Kind::from_jsonrpc_code(error.code))
        .unwrap_or(Kind::TargetError);
    // Data without a kind is not ours, so all of it is the details.
    let details = if known.is_some() {
        hints.detail
    } else {
        error.data
    };
    hints.fault(kind, error.message, details)
}

/// The bare form of MQTT and AMQP, with the `status` that stood beside it.
pub(super) fn from_bare(status: &str, body: &[u8]) -> Fault {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let mut hints = Hints::read(text);
    match hints.kind().or_else(|| Kind::from_name(status)) {
        Some(kind) => {
            let message = hints.message.take();
            let message = message.unwrap_or_else(|| kind.title().to_owned());
            hints.fault(kind, message, hints.data)
        }
        None => {
            let message = format!("the answer's status is {status:?}");
            Fault::new(Kind::TargetError, message).with_raw_data(Bytes::copy_from_slice(body))
        }
    }
}

/// The body of an HTTP answer that is no success (RFC 9457), with its status.
pub(super) fn from_http(status: u16, body: &[u8]) -> Fault {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let hints = Hints::read(text);
    if let Some(kind) = hints.kind() {
        let message = hints
            .detail
            .and_then(|detail| serde_json::from_str(detail.get()).ok())
            .unwrap_or_else(|| kind.title().to_owned());
        return hints.fault(kind, message, hints.data);
    }
    let kind = match status {
        401 => Kind::Unauthenticated,
        403 => Kind::Forbidden,
        404 => Kind::MethodNotFound,
        413 => Kind::TooLarge,
        429 => Kind::Overloaded,
        502 | 503 => Kind::Unavailable,
        504 => Kind::Timeout,
        400..=499 => Kind::InvalidRequest,
        _ => Kind::TargetError,
    };
    Fault::new(
        kind,
        format!("the server answered with HTTP status {status}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callway_s_own_faults_come_back_whole() {
        let id = CallId::new();
        let mut sent = Fault::unavailable("link_down", "the bus is away");
        sent.call_id = Some(id);
        let mut data = serde_json::Map::new();
        data.insert("kind".into(), "unavailable".into());
        sent.add_hints(&mut data, "detail");
        let error =
            serde_json::json!({ "code": -32004, "message": "the bus is away", "data": data });
        let got = from_jsonrpc(&error.to_string());
        assert_eq!(got.to_json(), sent.to_json());
    }

    #[test]
    fn problem_details_come_back_whole() {
        let body = br#"{"type":"about:blank","title":"Forbidden","status":403,
            "detail":"no grant","kind":"forbidden","call_id":"x","data":{"a":1}}"#;
        let fault = from_http(403, body);
        assert_eq!(fault.kind, Kind::Forbidden);
        assert_eq!(fault.message, "no grant");
        assert_eq!(fault.call_id, None, "not an id that callway makes");
        assert_eq!(fault.data.unwrap(), br#"{"a":1}"#.as_slice());
    }

    #[test]
    fn bare_faults_come_back_whole() {
        let sent = Fault::new(Kind::ScriptError, "boom").with_data(&serde_json::json!({"line": 3}));
        let got = from_bare("script_error", &sent.to_json());
        assert_eq!(got.to_json(), sent.to_json());
        assert_eq!(from_bare("busy", b"later").kind, Kind::TargetError);
        assert_eq!(from_bare("timeout", b"").kind, Kind::Timeout);
    }

    #[test]
    fn strangers_are_taken_by_their_code() {
        let fault = from_jsonrpc(r#"{"code":-32000,"message":"boom","data":[1]}"#);
        assert_eq!(fault.kind, Kind::TargetError);
        assert_eq!(fault.data.unwrap(), b"[1]".as_slice());
        assert_eq!(from_jsonrpc("7").kind, Kind::TargetError);
        assert_eq!(from_http(502, b"<html>").kind, Kind::Unavailable);
        assert_eq!(from_http(500, b"\xff").kind, Kind::TargetError);
    }
}

//! Writes JSON-RPC messages by hand: one allocation each, payloads copied as they are.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::call::{Fault, Form, Payload};

const HEAD: &str = r#"{"jsonrpc":"2.0","#;

/// A response with a result. `id` is JSON text.
pub(super) fn success(id: &str, result: &Payload) -> String {
    let result = result.as_json();
    let mut text = String::with_capacity(HEAD.len() + id.len() + result.len() + 24);
    text.push_str(HEAD);
    text.push_str(r#""id":"#);
    text.push_str(id);
    text.push_str(r#","result":"#);
    text.push_str(&result);
    text.push('}');
    text
}

/// A response with an error object: `{"code","message","data":{"kind","call_id",…}}`.
pub(super) fn failure(id: &str, fault: &Fault) -> String {
    let mut data = Map::new();
    data.insert("kind".into(), fault.kind.as_str().into());
    fault.add_hints(&mut data, "detail");
    let error = serde_json::json!({
        "code": fault.kind.jsonrpc_code(),
        "message": fault.message,
        "data": data,
    });
    format!(r#"{HEAD}"id":{id},"error":{error}}}"#)
}

/// A request. `id` is JSON text; `extra` is what callway adds, as JSON members with a leading
/// comma.
pub(super) fn request(
    id: &str,
    method: &str,
    params: &Payload,
    extra: std::fmt::Arguments,
) -> String {
    let mut text = String::with_capacity(HEAD.len() + params.len() + method.len() + 160);
    text.push_str(HEAD);
    text.push_str(r#""id":"#);
    text.push_str(id);
    text.push_str(r#","method":"#);
    push_text(&mut text, method);
    text.push_str(r#","params":"#);
    push_params(&mut text, params);
    // Writing to a String cannot fail.
    let _ok = text.write_fmt(extra);
    text.push('}');
    text
}

/// A notification; `params` is JSON text.
pub(super) fn notification(method: &str, params: &str) -> String {
    format!(r#"{HEAD}"method":"{method}","params":{params}}}"#)
}

/// JSON-RPC knows only params by position and by name, so any other value becomes the one
/// element of an array.
fn push_params(text: &mut String, params: &Payload) {
    let first = params.bytes().trim_ascii_start().first();
    let structured = params.form() == Form::Json && matches!(first, Some(b'{' | b'['));
    let json = params.as_json();
    // What a Binary payload is shown as is an object of callway's making, not the caller's params.
    if structured {
        text.push_str(&json);
    } else {
        text.push('[');
        text.push_str(&json);
        text.push(']');
    }
}

/// A JSON string; names seldom need escapes.
fn push_text(text: &mut String, plain: &str) {
    if plain.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        text.push('"');
        text.push_str(plain);
        text.push('"');
    } else {
        text.push_str(&Value::from(plain).to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::Kind;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_error_has_the_kind_and_its_hints() {
        let fault = Fault::unavailable("down", "the \"bus\" is down");
        assert_eq!(
            parsed(&failure("\"x\"", &fault)),
            json!({"jsonrpc":"2.0","id":"x","error":{
                "code": -32004, "message": "the \"bus\" is down",
                "data": {"kind":"unavailable","retry_after":1,"detail":{"reason":"down"}},
            }})
        );
        let bare = failure("null", &Fault::new(Kind::ParseError, "no"));
        assert_eq!(
            parsed(&bare)["error"]["data"],
            json!({"kind":"parse_error"})
        );
    }

    #[test]
    fn params_that_are_no_structure_become_an_array() {
        let params =
            |payload| parsed(&request("1", "m\"x", &payload, format_args!("")))["params"].take();
        assert_eq!(params(Payload::json(" {\"a\":1}")), json!({"a":1}));
        assert_eq!(params(Payload::json("[1,2]")), json!([1, 2]));
        assert_eq!(params(Payload::json("5")), json!([5]));
        assert_eq!(params(Payload::text("{text")), json!(["{text"]));
        assert_eq!(
            params(Payload::binary(&b"\xff"[..])),
            json!([{"base64":"/w=="}])
        );
    }
}

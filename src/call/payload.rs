//! What calls carry: bytes that are passed through, together with what is known about them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::{Fault, Kind};
use super::scan::{Defect, scan};

/// The params or the result of a call.
///
/// The bytes are never re-encoded on the way. A dialect that must show them as JSON asks for
/// [`Payload::as_json`], which costs nothing when they are JSON already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    bytes: Bytes,
    form: Form,
}

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// JSON text that passed the scan.
    Json,
    /// UTF-8 that stands for the JSON string of the same characters.
    Text,
    /// Neither; JSON dialects show `{"base64":"…"}`.
    Binary,
    /// Said to be JSON by its sender and not looked at yet; see [`Payload::check`].
    UncheckedJson,
    /// From a transport without types and not looked at yet; see [`Payload::check`].
    Unchecked,
}

impl Payload {
    /// The JSON value `null`, which is what an empty body means.
    pub fn null() -> Payload {
        Payload {
            bytes: Bytes::from_static(b"null"),
            form: Form::Json,
        }
    }

    /// Encodes a value that this process made.
    pub fn from_value(value: &impl Serialize) -> Payload {
        // Fails only for maps with keys that are not strings, which nothing here builds.
        let bytes = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
        Payload {
            bytes: bytes.into(),
            form: Form::Json,
        }
    }

    /// JSON text that this process, or a scan, vouches for.
    pub fn json(bytes: impl Into<Bytes>) -> Payload {
        Payload {
            bytes: bytes.into(),
            form: Form::Json,
        }
    }

    /// A string, whatever it looks like.
    pub fn text(text: impl Into<Bytes>) -> Payload {
        Payload {
            bytes: text.into(),
            form: Form::Text,
        }
    }

    /// Bytes, whatever they look like.
    pub fn binary(bytes: impl Into<Bytes>) -> Payload {
        Payload {
            bytes: bytes.into(),
            form: Form::Binary,
        }
    }

    /// Bytes whose form was settled before, and kept with them.
    pub fn kept(bytes: Bytes, form: Form) -> Payload {
        Payload { bytes, form }
    }

    /// What a JSON protocol holds at the place of params: must pass the scan.
    pub fn unchecked_json(bytes: impl Into<Bytes>) -> Payload {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Payload::null();
        }
        Payload {
            bytes,
            form: Form::UncheckedJson,
        }
    }

    /// A body of MQTT, AMQP or HTTP with the content type it came with (RFC 9110 §8.3).
    pub fn from_body(bytes: impl Into<Bytes>, content_type: Option<&str>) -> Payload {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Payload::null();
        }
        let form = match content_type.map(essence) {
            Some(kind) if kind.eq_ignore_ascii_case("text/plain") => text_or_binary(&bytes),
            Some(kind) if is_json_type(kind) => Form::UncheckedJson,
            _ if matches!(first_non_blank(&bytes), Some(b'{' | b'[')) => Form::UncheckedJson,
            _ => Form::Unchecked,
        };
        Payload { bytes, form }
    }

    /// The same in memory of its own, for what outlives the message that it is a part of.
    pub fn detached(&self) -> Payload {
        Payload {
            bytes: Bytes::copy_from_slice(&self.bytes),
            form: self.form,
        }
    }

    /// What a JSON text says to people: a string is its bare text, whatever that looks like;
    /// anything else stays as it is.
    pub fn from_message(json: Bytes) -> Payload {
        match serde_json::from_slice::<String>(&json) {
            Ok(text) if text.is_empty() => Payload::text(text),
            Ok(text) => Payload::from_body(text, None),
            Err(_) => Payload::unchecked_json(json),
        }
    }

    /// Settles what the bytes are, and returns `parse_error` for what claims to be JSON and is not
    /// fit to travel.
    pub fn check(&mut self, max_depth: usize) -> Result<(), Fault> {
        self.settle(max_depth).map_err(Fault::from)
    }

    /// Settles what the bytes are. Done once, by the dispatcher, for the params of every transport.
    ///
    /// Returns what is wrong with what claims to be JSON and is not fit to travel.
    pub fn settle(&mut self, max_depth: usize) -> Result<(), Defect> {
        self.form = match self.form {
            Form::UncheckedJson => {
                scan(&self.bytes, max_depth)?;
                Form::Json
            }
            Form::Unchecked if scan(&self.bytes, max_depth).is_ok() => Form::Json,
            Form::Unchecked => text_or_binary(&self.bytes),
            settled => settled,
        };
        Ok(())
    }

    /// Settles what the bytes are and refuses none of them: JSON if they are fit to travel as such,
    /// else text, else bytes. For what nobody waits to hear a refusal of.
    pub fn settle_leniently(&mut self, max_depth: usize) {
        if self.settle(max_depth).is_err() {
            self.form = text_or_binary(&self.bytes);
        }
    }

    /// What the bytes are.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The size in bytes, as it came.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// As JSON text: the bytes themselves, the string, or `{"base64":"…"}`.
    pub fn as_json(&self) -> Cow<'_, str> {
        match self.form {
            Form::Json => match std::str::from_utf8(&self.bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => Cow::Borrowed("null"), // the scan refuses such bytes
            },
            Form::Text | Form::Unchecked | Form::UncheckedJson => {
                Cow::Owned(Value::from(String::from_utf8_lossy(&self.bytes)).to_string())
            }
            Form::Binary => {
                Cow::Owned(serde_json::json!({ "base64": BASE64.encode(&self.bytes) }).to_string())
            }
        }
    }

    /// As JSON bytes to send on, without a copy where they are JSON already.
    pub fn to_json_bytes(&self) -> Bytes {
        match self.form {
            Form::Json => self.bytes.clone(),
            _ => Bytes::from(self.as_json().into_owned()),
        }
    }

    /// Builds the value; for places that look into it, never on the way of a call.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(&self.as_json()).unwrap_or(Value::Null)
    }

    /// The content type to announce where a transport has a place for it.
    pub fn content_type(&self) -> &'static str {
        match self.form {
            Form::Json | Form::UncheckedJson => "application/json",
            Form::Text => "text/plain; charset=utf-8",
            Form::Binary | Form::Unchecked => "application/octet-stream",
        }
    }
}

fn text_or_binary(bytes: &[u8]) -> Form {
    if std::str::from_utf8(bytes).is_ok() {
        Form::Text
    } else {
        Form::Binary
    }
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn is_json_type(essence: &str) -> bool {
    let lower = essence.to_ascii_lowercase();
    lower == "application/json" || lower == "text/json" || lower.ends_with("+json")
}

fn first_non_blank(bytes: &[u8]) -> Option<u8> {
    bytes
        .iter()
        .copied()
        .find(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
}

impl From<Defect> for Fault {
    fn from(defect: Defect) -> Fault {
        Fault::new(Kind::ParseError, format!("params: {defect}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(bytes: &'static [u8], content_type: Option<&str>) -> Result<Payload, Kind> {
        let mut payload = Payload::from_body(bytes, content_type);
        payload.check(128).map_err(|fault| fault.kind)?;
        Ok(payload)
    }

    #[test]
    fn what_looks_like_json_must_be_json() {
        assert_eq!(checked(b" {\"a\":", None), Err(Kind::ParseError));
        assert_eq!(
            checked(b"21.5 degrees", Some("application/json")),
            Err(Kind::ParseError)
        );
        assert_eq!(
            checked(b"[1]", Some("application/vnd.x+json; charset=utf-8"))
                .unwrap()
                .form(),
            Form::Json
        );
    }

    #[test]
    fn a_message_is_its_bare_text() {
        let message = |json: &'static str| {
            let mut payload = Payload::from_message(Bytes::from(json));
            payload.settle_leniently(9);
            (payload.form(), payload.bytes().clone())
        };
        let is = |form, text: &'static str| (form, Bytes::from(text));
        assert_eq!(message(r#""{'a':\"b\"}""#), is(Form::Text, r#"{'a':"b"}"#));
        assert_eq!(message(r#""{\"a\":1}""#), is(Form::Json, r#"{"a":1}"#));
        assert_eq!(message(r#"{"a": 1}"#), is(Form::Json, r#"{"a": 1}"#));
        assert_eq!(message(r#""""#), is(Form::Text, ""));
    }

    #[test]
    fn leniently_nothing_is_refused() {
        let settled = |bytes: &'static [u8], kind| {
            let mut payload = Payload::from_body(bytes, kind);
            payload.settle_leniently(3);
            (payload.form(), payload.bytes().clone())
        };
        let same = |bytes: &'static [u8], form| (form, Bytes::from_static(bytes));
        let json = Some("application/json");
        assert_eq!(settled(b"{'a':1}", None), same(b"{'a':1}", Form::Text));
        assert_eq!(settled(b"{\xff", json), same(b"{\xff", Form::Binary));
        assert_eq!(settled(b"[[[[]]]]", json), same(b"[[[[]]]]", Form::Text));
        assert_eq!(settled(b"[[[]]]", json), same(b"[[[]]]", Form::Json));
    }

    #[test]
    fn anything_else_is_what_it_can_be() {
        assert_eq!(checked(b"21.5", None).unwrap().as_json(), "21.5");
        assert_eq!(checked(b"on", None).unwrap().as_json(), "\"on\"");
        assert_eq!(
            checked(b"\xff\x00", None).unwrap().as_json(),
            r#"{"base64":"/wA="}"#
        );
        assert_eq!(checked(b"", None).unwrap().as_json(), "null");
        assert_eq!(
            checked(b"21.5", Some("text/plain")).unwrap().as_json(),
            "\"21.5\""
        );
        assert_eq!(
            checked(b"{not json", Some("text/plain")).unwrap().as_json(),
            "\"{not json\""
        );
    }
}

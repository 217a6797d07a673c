//! Reads one JSON-RPC message without building a value: members stay the text that they are.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::call::{Fault, Kind, parse_duration, scan};

/// One message.
#[derive(Debug)]
pub(super) enum Incoming<'a> {
    /// A request, or a notification if it has no id.
    Asked(Asked<'a>),
    /// A result for a request of ours.
    Result(&'a RawValue, &'a RawValue),
    /// An error for a request of ours.
    Error(&'a RawValue, &'a RawValue),
    /// Nothing that JSON-RPC knows. It is answered with its id, as far as it has one.
    Refused(Option<&'a RawValue>, Fault),
}

/// A request or a notification.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// A string, a number or `null`; none in a notification.
    pub(super) id: Option<&'a RawValue>,
    /// The method.
    pub(super) method: Cow<'a, str>,
    /// An object or an array.
    pub(super) params: Option<&'a RawValue>,
    /// How long the client waits.
    pub(super) timeout: Option<Duration>,
    /// An idempotency key.
    pub(super) key: Option<Cow<'a, str>>,
}

/// Reads a message that is not a batch. `max_depth` bounds what is no call, and ids.
pub(super) fn read(text: &str, max_depth: usize) -> Incoming<'_> {
    let members = match serde_json::from_str::<Members>(text) {
        Ok(members) => members,
        Err(_) => return Incoming::Refused(None, no_message(text.as_bytes(), max_depth)),
    };
    if let Some(id) = members.id
        && !is_id(id, max_depth)
    {
        let fault = scanned(id.get(), max_depth)
            .err()
            .unwrap_or_else(|| invalid("id must be a string, a number or null"));
        return Incoming::Refused(None, fault);
    }
    match members.message() {
        Ok(message) => message,
        // What is no call is looked at as a whole, so that bad JSON is called bad JSON.
        Err(fault) => {
            let fault = scan(text.as_bytes(), max_depth)
                .err()
                .map_or(fault, bad_json);
            Incoming::Refused(members.id, fault)
        }
    }
}

/// The members that mean something; whatever else there is, is ignored.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    timeout: Option<&'a RawValue>,
    key: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    /// A member that stands twice.
    twice: bool,
}

impl<'a> Members<'a> {
    fn message(&self) -> Result<Incoming<'a>, Fault> {
        if self.twice {
            return Err(invalid("a member stands twice"));
        }
        if self
            .jsonrpc
            .is_none_or(|version| version.get() != "\"2.0\"")
        {
            return Err(invalid("a message has the member \"jsonrpc\":\"2.0\""));
        }
        if let Some(method) = self.method {
            return self.asked(method).map(Incoming::Asked);
        }
        match (self.id, self.result, self.error) {
            (Some(id), Some(result), None) => Ok(Incoming::Result(id, result)),
            (Some(id), None, Some(error)) => Ok(Incoming::Error(id, error)),
            _ => Err(invalid("a request has a member \"method\"")),
        }
    }

    fn asked(&self, method: &'a RawValue) -> Result<Asked<'a>, Fault> {
        let Some(method) = text(method) else {
            return Err(invalid("method must be a string"));
        };
        let params = self.params.filter(|params| params.get() != "null");
        if params.is_some_and(|params| !params.get().starts_with(['{', '['])) {
            return Err(invalid("params must be an object or an array"));
        }
        let timeout = match self.timeout {
            None => None,
            Some(timeout) => {
                let duration = text(timeout).and_then(|text| parse_duration(&text).ok());
                Some(duration.ok_or_else(|| {
                    invalid("timeout must be a duration such as \"5s\" or \"500ms\"")
                })?)
            }
        };
        let key = match self.key.map(text) {
            None => None,
            Some(Some(key)) if !key.is_empty() => Some(key),
            Some(_) => return Err(invalid("key must be a string that is not empty")),
        };
        Ok(Asked {
            id: self.id,
            method,
            params,
            timeout,
            key,
        })
    }
}

/// The text of a JSON string, borrowed unless it has escapes. `None` for anything else.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// Whether this may be an id that is sent back as it came.
fn is_id(id: &RawValue, max_depth: usize) -> bool {
    let fits =
        id.get().starts_with(['"', '-', 'n']) || id.get().starts_with(|c: char| c.is_ascii_digit());
    fits && scan(id.get().as_bytes(), max_depth).is_ok()
}

/// Why something is not even an object.
pub(super) fn no_message(text: &[u8], max_depth: usize) -> Fault {
    match scan(text, max_depth) {
        Ok(()) => invalid("a message is an object, or an array of objects"),
        Err(defect) => bad_json(defect),
    }
}

/// Whether a text is fit to travel.
pub(super) fn scanned(text: &str, max_depth: usize) -> Result<(), Fault> {
    scan(text.as_bytes(), max_depth).map_err(bad_json)
}

fn bad_json(defect: crate::call::Defect) -> Fault {
    Fault::new(Kind::ParseError, format!("{defect}"))
}

pub(super) fn invalid(why: &'static str) -> Fault {
    Fault::new(Kind::InvalidRequest, why)
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Jsonrpc,
    Id,
    Method,
    Params,
    Timeout,
    Key,
    Result,
    Error,
    #[serde(other)]
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some(name) = map.next_key::<Name>()? {
                    let member = match name {
                        Name::Jsonrpc => &mut members.jsonrpc,
                        Name::Id => &mut members.id,
                        Name::Method => &mut members.method,
                        Name::Params => &mut members.params,
                        Name::Timeout => &mut members.timeout,
                        Name::Key => &mut members.key,
                        Name::Result => &mut members.result,
                        Name::Error => &mut members.error,
                        Name::Other => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    let before = member.replace(map.next_value::<&RawValue>()?);
                    members.twice |= before.is_some();
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (Option<&str>, Kind) {
        match read(text, 128) {
            Incoming::Refused(id, fault) => (id.map(RawValue::get), fault.kind),
            other => panic!("{other:?}"),
        }
    }

    fn asked(text: &str) -> Asked<'_> {
        match read(text, 128) {
            Incoming::Asked(asked) => asked,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_json_is_a_parse_error() {
        for text in [
            "",
            "{",
            "hello",
            r#"{"jsonrpc":"2.0","method":"a","id":1,}"#,
            "{}{}",
        ] {
            assert_eq!(refused(text), (None, Kind::ParseError), "{text}");
        }
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(refused(&deep), (None, Kind::ParseError));
        let surrogate = r#"{"jsonrpc":"2.0","method":"a","id":"\ud800"}"#;
        assert_eq!(refused(surrogate), (None, Kind::ParseError));
    }

    #[test]
    fn what_is_no_call_is_an_invalid_request() {
        let invalid = |text| assert_eq!(refused(text), (Some("7"), Kind::InvalidRequest), "{text}");
        invalid(r#"{"jsonrpc":"2.0","id":7}"#);
        invalid(r#"{"jsonrpc":"1.0","id":7,"method":"a"}"#);
        invalid(r#"{"id":7,"method":"a"}"#);
        invalid(r#"{"jsonrpc":"2.0","id":7,"method":1}"#);
        invalid(r#"{"jsonrpc":"2.0","id":7,"method":"a","params":"text"}"#);
        invalid(r#"{"jsonrpc":"2.0","id":7,"method":"a","params":5}"#);
        invalid(r#"{"jsonrpc":"2.0","id":7,"method":"a","timeout":5}"#);
        invalid(r#"{"jsonrpc":"2.0","id":7,"method":"a","timeout":"5"}"#);
        invalid(r#"{"jsonrpc":"2.0","id":7,"method":"a","method":"b"}"#);
        invalid(r#"{"jsonrpc":"2.0","id":7,"result":1,"error":{}}"#);
        for text in [
            "5",
            r#""text""#,
            r#"{"jsonrpc":"2.0","method":"a","id":{}}"#,
            r#"{"jsonrpc":"2.0","method":"a","id":[1]}"#,
            r#"{"jsonrpc":"2.0","method":"a","id":true}"#,
        ] {
            assert_eq!(refused(text), (None, Kind::InvalidRequest), "{text}");
        }
    }

    #[test]
    fn members_stay_the_text_that_they_are() {
        let text = r#" {"params": {"t": 22.50},"id":1.0e0,"method":"a\/b","jsonrpc":"2.0","x":[{}],"timeout":"2s","key":"k"}"#;
        let asked = asked(text);
        assert_eq!(asked.id.unwrap().get(), "1.0e0");
        assert_eq!(asked.params.unwrap().get(), r#"{"t": 22.50}"#);
        assert_eq!(asked.method, "a/b");
        assert_eq!(asked.timeout, Some(Duration::from_secs(2)));
    }

    #[test]
    fn an_id_of_null_is_an_id() {
        let id = |text| asked(text).id.map(|id| id.get().to_owned());
        assert_eq!(id(r#"{"jsonrpc":"2.0","method":"a"}"#), None);
        let null = r#"{"jsonrpc":"2.0","method":"a","id":null,"params":null}"#;
        assert_eq!(id(null).as_deref(), Some("null"));
        assert!(asked(null).params.is_none());
    }

    #[test]
    fn answers_are_told_from_requests() {
        assert!(matches!(
            read(r#"{"jsonrpc":"2.0","id":1,"result":null}"#, 128),
            Incoming::Result(..)
        ));
        assert!(matches!(
            read(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, 128),
            Incoming::Error(..)
        ));
    }
}

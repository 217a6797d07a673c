//! The frames of scriptr.io's WebSocket.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::command;
use super::failure::Failure;
use crate::call::{Fault, Kind, Payload, Reply};

/// Bytes of a client's id. Replies that wait for their turn hold it, so it has a bound.
const LONGEST_ID: usize = 255;

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(default)]
    id: Value,
}

/// What a client asked for in one frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The part of the reply's id that the client chose.
    pub client_id: Option<String>,
    /// What it is, or why it is nothing.
    pub what: Result<Wanted, Failure>,
}

/// One thing that a client wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To call the script at this path. The params were not looked at yet.
    Call(String, Payload),
    /// To publish to a channel.
    Publish(String, Payload),
    /// To get the events of a channel.
    Subscribe(String),
    /// To get those of these channels no more.
    Unsubscribe(Vec<String>),
}

/// Reads one frame. Members that are not known are ignored; a client adds what it likes.
pub fn read(frame: &Bytes) -> Asked {
    let parsed: Frame = match serde_json::from_slice(frame) {
        Ok(parsed) => parsed,
        Err(error) => {
            return Asked {
                client_id: None,
                what: Err(Failure::of(&not_a_call(&error))),
            };
        }
    };
    let client_id = match parsed.id {
        Value::Null => None,
        Value::String(id) if id.len() <= LONGEST_ID => Some(id),
        Value::Number(id) => Some(id.to_string()),
        _ => {
            let fault = Fault::new(
                Kind::InvalidRequest,
                "the id must be a number or a short string",
            );
            return Asked {
                client_id: None,
                what: Err(Failure::of(&fault)),
            };
        }
    };
    let about_channel = command::read(&parsed.method, parsed.params);
    let what = about_channel.unwrap_or_else(|| {
        let params = parsed.params.map_or_else(Payload::null, |params| {
            Payload::unchecked_json(frame.slice_ref(params.get().as_bytes()))
        });
        Ok(Wanted::Call(parsed.method.into_owned(), params))
    });
    Asked { client_id, what }
}

/// JSON that is not a call is told apart from what is not JSON.
fn not_a_call(error: &serde_json::Error) -> Fault {
    if error.is_data() {
        return Fault::new(
            Kind::InvalidRequest,
            r#"a call is {"method":"path/to/script","params":…,"id":…}"#,
        );
    }
    Fault::new(Kind::ParseError, format!("not JSON: {error}"))
}

/// What is said to one client, whose session id begins the id of every reply.
#[derive(Clone, Debug)]
pub struct Voice {
    id: String,
    legacy: bool,
}

impl Voice {
    /// With a random session id of 8 hexadecimal digits. `legacy` adds the older reply shape,
    /// which the official Node.js client reads, beside the documented one.
    pub fn new(legacy: bool) -> Voice {
        let id = format!("{:08x}", Uuid::new_v4().as_fields().0);
        Voice { id, legacy }
    }

    /// The first frame of a connection, for which clients wait.
    pub fn greeting(&self) -> String {
        format!(
            r#"{{"id":"{}","status":"success","result":"connected."}}"#,
            self.id
        )
    }

    /// The reply to a call that succeeded.
    pub fn success(&self, client_id: Option<&str>, reply: &Reply) -> String {
        let result = reply.payload.as_json();
        let mut text = String::with_capacity(result.len() + 128);
        text.push_str(r#"{"id":"#);
        text.push_str(&self.reply_id(client_id));
        text.push_str(r#","status":"success","statusCode":"200","result":"#);
        text.push_str(&result);
        push_log(&mut text, reply);
        if self.legacy {
            text.push_str(r#","response":{"metadata":{"status":"success","statusCode":"200""#);
            push_log(&mut text, reply);
            text.push_str(r#"},"result":"#);
            text.push_str(&result);
            text.push('}');
        }
        text.push('}');
        text
    }

    /// The reply to what was asked of a channel, which has no result.
    pub fn done(&self, client_id: Option<&str>) -> String {
        let id = self.reply_id(client_id);
        let legacy = match self.legacy {
            // That client looks into the result, which must not be missing.
            true => {
                r#","response":{"metadata":{"status":"success","statusCode":"200"},"result":{}}"#
            }
            false => "",
        };
        format!(r#"{{"id":{id},"status":"success","statusCode":"200"{legacy}}}"#)
    }

    /// The reply to a request that failed.
    pub fn failure(&self, client_id: Option<&str>, failure: &Failure) -> String {
        let (code, detail) = (json(&failure.code), json(&failure.detail));
        let members = format!(
            r#""status":"failure","statusCode":"{}","errorCode":{code},"errorDetail":{detail}"#,
            failure.status
        );
        let mut text = format!(r#"{{"id":{},{members}"#, self.reply_id(client_id));
        if self.legacy {
            // That client looks for `errorCode` in the result, which must not be null.
            // Writing to a String cannot fail.
            let _ok = write!(
                text,
                r#","response":{{"metadata":{{{members}}},"result":{{"errorCode":{code},"errorDetail":{detail}}}}}"#
            );
        }
        text.push('}');
        text
    }

    /// `<session>-<client id>`; without a client id the rest of a UUID takes its place.
    fn reply_id(&self, client_id: Option<&str>) -> String {
        match client_id {
            Some(id) => json(&format!("{}-{id}", self.id)),
            None => {
                let uuid = Uuid::new_v4().hyphenated().to_string();
                format!(r#""{}{}""#, self.id, &uuid[8..])
            }
        }
    }
}

/// `scriptLog`, where the script wrote something.
pub fn push_log(text: &mut String, reply: &Reply) {
    let Some(script) = &reply.script else { return };
    if script.log.is_empty() {
        return;
    }
    text.push_str(r#","scriptLog":["#);
    for (index, entry) in script.log.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(entry.get());
    }
    text.push(']');
}

/// A JSON string.
pub fn json(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::ScriptReply;

    fn ask(frame: &'static str) -> Asked {
        read(&Bytes::from_static(frame.as_bytes()))
    }

    fn code(frame: &'static str) -> String {
        ask(frame).what.unwrap_err().code
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_no_call_gets_a_failure() {
        assert_eq!(code("{"), "PARSE_ERROR");
        assert_eq!(code("hello"), "PARSE_ERROR");
        assert_eq!(code("[]"), "INVALID_PARAMETER_VALUE");
        assert_eq!(code("{}"), "INVALID_PARAMETER_VALUE");
        assert_eq!(code(r#"{"method":7}"#), "INVALID_PARAMETER_VALUE");
        assert_eq!(
            code(r#"{"method":"a","id":{"x":1}}"#),
            "INVALID_PARAMETER_VALUE"
        );
    }

    #[test]
    fn ids_are_strings_numbers_or_absent() {
        let id = |frame| ask(frame).client_id;
        assert_eq!(id(r#"{"method":"a"}"#), None);
        assert_eq!(id(r#"{"method":"a","id":null}"#), None);
        assert_eq!(
            id(r#"{"method":"a","id":1484580791420}"#).as_deref(),
            Some("1484580791420")
        );
        assert_eq!(
            id(r#"{"method":"a","id":"w_1","extra":[{}]}"#).as_deref(),
            Some("w_1")
        );
    }

    #[test]
    fn params_travel_as_they_were_written() {
        let params = |frame| match ask(frame).what {
            Ok(Wanted::Call(_, params)) => params.bytes().clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            params(r#"{"method":"a","params":{"t": 22.50, "deep":[{}]}}"#),
            r#"{"t": 22.50, "deep":[{}]}"#.as_bytes()
        );
        assert_eq!(params(r#"{"method":"a","params":"x"}"#), "\"x\"".as_bytes());
        assert_eq!(params(r#"{"method":"a"}"#), "null".as_bytes());
    }

    #[test]
    fn replies_have_the_documented_shape() {
        let session = Voice::new(false);
        assert_eq!(session.id.len(), 8);
        assert_eq!(
            parsed(&session.greeting()),
            serde_json::json!({"id": session.id, "status": "success", "result": "connected."})
        );

        let mut reply = Reply::new(Payload::json(r#"{"color":"blue"}"#));
        assert_eq!(
            parsed(&session.success(Some("w\"1"), &reply)),
            serde_json::json!({
                "id": format!("{}-w\"1", session.id),
                "status": "success", "statusCode": "200", "result": {"color": "blue"},
            })
        );
        reply.script = Some(Box::new(ScriptReply {
            log: vec![RawValue::from_string(r#"{"message":"hi"}"#.into()).unwrap()],
            response: None,
        }));
        let with_log = parsed(&session.success(None, &reply));
        assert_eq!(with_log["scriptLog"][0]["message"], "hi");
        let id = with_log["id"].as_str().unwrap();
        assert!(
            id.starts_with(&session.id) && id.split('-').count() == 5,
            "{id}"
        );

        let failure = Failure::of(&Fault::new(Kind::MethodNotFound, "no \"x\""));
        assert_eq!(
            parsed(&session.failure(Some("7"), &failure)),
            serde_json::json!({
                "id": format!("{}-7", session.id), "status": "failure", "statusCode": "404",
                "errorCode": "INVALID_SCRIPT_NAME", "errorDetail": "no \"x\"",
            })
        );
    }

    #[test]
    fn the_legacy_shape_is_a_superset() {
        let session = Voice::new(true);
        let reply = Reply::new(Payload::json("5"));
        let frame = parsed(&session.success(Some("1"), &reply));
        assert_eq!(frame["result"], 5);
        assert_eq!(frame["response"]["result"], 5);
        assert_eq!(frame["response"]["metadata"]["statusCode"], "200");

        let failure = Failure::of(&Fault::new(Kind::Forbidden, "no"));
        let frame = parsed(&session.failure(None, &failure));
        assert_eq!(frame["errorCode"], "PERMISSION_DENIED");
        assert_eq!(frame["response"]["metadata"]["status"], "failure");
        assert_eq!(
            frame["response"]["result"]["errorCode"],
            "PERMISSION_DENIED"
        );
    }
}

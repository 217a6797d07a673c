//! The envelope of bus messages that carry the whole call in their body:
//! `{"method","params"?,"id"?,"token"?,"reply_to"?,"key"?,"timeout"?}`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Map;
use serde_json::value::RawValue;

use crate::auth::Secret;
use crate::call::{Fault, Kind, Outcome, Payload, parse_duration, scan};

/// A call as a message body tells it.
#[derive(Debug)]
pub struct Envelope {
    /// What to call.
    pub method: String,
    /// What to call it with.
    pub params: Payload,
    /// JSON text that the caller recognises its reply by.
    pub id: Option<Bytes>,
    /// The caller's credential.
    pub token: Option<Secret>,
    /// Where the reply goes.
    pub reply_to: Option<String>,
    /// How long the caller waits.
    pub timeout: Option<Duration>,
    /// An idempotency key.
    pub key: Option<Arc<str>>,
    /// How often the request has passed through callway already.
    pub hops: Option<u32>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    token: Option<String>,
    reply_to: Option<String>,
    timeout: Option<String>,
    hops: Option<u32>,
    key: Option<String>,
}

impl Envelope {
    /// Reads a body. `max_depth` bounds the nesting of its params.
    ///
    /// Returns `parse_error` for what is no JSON, `invalid_request` for JSON that is no call.
    pub fn read(body: &Bytes, max_depth: usize) -> Result<Envelope, Fault> {
        scan(body, max_depth + 1)
            .map_err(|defect| Fault::new(Kind::ParseError, format!("message body: {defect}")))?;
        // What serde says may quote the body, and so the token.
        let wire: Wire<'_> = serde_json::from_slice(body).map_err(|_| {
            Fault::new(
                Kind::InvalidRequest,
                "the message names no method; send an object with \"method\" and \"params\"",
            )
        })?;
        let part = |raw: &RawValue| body.slice_ref(raw.get().as_bytes());
        let timeout = match wire.timeout.as_deref().map(parse_duration) {
            Some(Err(_)) => {
                return Err(Fault::new(
                    Kind::InvalidRequest,
                    "\"timeout\" is a text like \"500ms\" or \"5s\"",
                ));
            }
            other => other.and_then(Result::ok),
        };
        Ok(Envelope {
            method: wire.method,
            params: wire.params.map_or_else(Payload::null, |raw| {
                // The depth of params alone is the dispatcher's to check.
                Payload::unchecked_json(part(raw))
            }),
            id: wire.id.map(part),
            token: wire.token.map(Secret::new),
            reply_to: wire.reply_to,
            timeout,
            key: wire.key.map(Arc::from),
            hops: wire.hops,
        })
    }

    /// The id as the text that a correlation property has room for.
    pub fn id_text(&self) -> Option<String> {
        let id = self.id.as_ref()?;
        let text = serde_json::from_slice::<String>(id);
        text.ok().or_else(|| String::from_utf8(id.to_vec()).ok())
    }
}

/// The body without its token, to keep where others may read it. In a body that cannot be read,
/// nothing tells a token from the rest: one that mentions any is not kept.
pub fn without_token(body: &Bytes) -> Bytes {
    let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body);
    match object {
        Ok(mut object) => match object.remove("token") {
            Some(_) => Bytes::from(serde_json::Value::Object(object).to_string()),
            None => body.clone(),
        },
        Err(_) if mentions_token(body) => Bytes::from_static(b"(unreadable, may hold a token)"),
        Err(_) => body.clone(),
    }
}

fn mentions_token(body: &[u8]) -> bool {
    body.windows(5)
        .any(|window| window.eq_ignore_ascii_case(b"token"))
}

/// Where the outcome of a call goes that could not be read, as far as that can.
#[derive(Debug, Default)]
pub struct Remains {
    /// Where the reply goes.
    pub reply_to: Option<String>,
    /// JSON text that the caller recognises its reply by.
    pub id: Option<Bytes>,
}

impl Remains {
    /// Looks into a body that [`Envelope::read`] refused.
    pub fn of(body: &Bytes) -> Remains {
        #[derive(Default, Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            #[serde(borrow)]
            reply_to: Option<&'a RawValue>,
        }
        let wire: Wire<'_> = serde_json::from_slice(body).unwrap_or_default();
        // What is broken must not be echoed.
        let id = wire.id.filter(|id| scan(id.get().as_bytes(), 1).is_ok());
        Remains {
            reply_to: wire
                .reply_to
                .and_then(|text| serde_json::from_str(text.get()).ok()),
            id: id.map(|id| body.slice_ref(id.get().as_bytes())),
        }
    }
}

/// The JSON-RPC 2.0 response to a call; `id` is JSON text.
pub fn response(id: Option<&Bytes>, outcome: &Outcome) -> Bytes {
    let id = id.map_or(Cow::Borrowed("null"), |id| String::from_utf8_lossy(id));
    Bytes::from(match outcome {
        Ok(reply) => {
            let result = reply.payload.as_json();
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
        }
        Err(fault) => {
            let mut data = Map::new();
            data.insert("kind".into(), fault.kind.as_str().into());
            fault.add_hints(&mut data, "detail");
            let error = serde_json::json!({
                "code": fault.kind.jsonrpc_code(),
                "message": fault.message,
                "data": data,
            });
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Reply;

    fn read(body: &'static str) -> Result<Envelope, Kind> {
        Envelope::read(&Bytes::from(body), 4).map_err(|fault| fault.kind)
    }

    #[test]
    fn what_is_no_call_is_refused() {
        assert_eq!(read("{\"method\":").unwrap_err(), Kind::ParseError);
        assert_eq!(read("21.5").unwrap_err(), Kind::InvalidRequest);
        assert_eq!(read("{\"method\":7}").unwrap_err(), Kind::InvalidRequest);
        assert_eq!(
            read(r#"{"method":"a","method":"b"}"#).unwrap_err(),
            Kind::InvalidRequest
        );
        assert_eq!(
            read(r#"{"method":"a","timeout":"soon"}"#).unwrap_err(),
            Kind::InvalidRequest
        );
        assert_eq!(
            read(r#"{"method":"a","params":[[[[[[1]]]]]]}"#).unwrap_err(),
            Kind::ParseError
        );
    }

    #[test]
    fn a_call_is_read_without_a_copy() {
        let call = read(
            r#"{"method":"a/b","params":{"x":1},"id":"7","token":"t","reply_to":"r","timeout":"2s"}"#,
        );
        let call = call.unwrap();
        assert_eq!(call.method, "a/b");
        assert_eq!(call.params.bytes(), &Bytes::from(r#"{"x":1}"#));
        assert_eq!(call.id_text().as_deref(), Some("7"));
        assert_eq!(call.timeout, Some(Duration::from_secs(2)));
        assert!(
            !format!("{call:?}").contains("\"t\""),
            "the token shows itself to nobody"
        );
        assert_eq!(
            read(r#"{"method":"a","id":[1]}"#)
                .unwrap()
                .id_text()
                .as_deref(),
            Some("[1]")
        );
        assert_eq!(read(r#"{"method":"a"}"#).unwrap().params.as_json(), "null");
    }

    #[test]
    fn no_token_is_kept() {
        let kept = |body: &'static str| without_token(&Bytes::from(body));
        assert_eq!(kept(r#"{"token":"secret","x":1}"#), r#"{"x":1}"#);
        assert_eq!(kept("plain"), "plain");
        assert!(!String::from_utf8_lossy(&kept(r#"{"token":"secret","#)).contains("secret"));
    }

    #[test]
    fn what_is_broken_is_answered_where_it_says() {
        for body in [
            r#"{"id":7,"reply_to":"r","method":"m","params":"\ud800"}"#,
            r#"{"id":7,"reply_to":"r","method":"m","params":1e999}"#,
            r#"{"id":7,"reply_to":"r","method":5,"timeout":{}}"#,
        ] {
            let body = Bytes::from(body);
            assert!(Envelope::read(&body, 128).is_err());
            let remains = Remains::of(&body);
            assert_eq!(remains.reply_to.as_deref(), Some("r"));
            assert_eq!(remains.id.as_deref(), Some(&b"7"[..]));
        }
        for body in ["{broken", "[1]", r#"{"reply_to":5}"#, r#"{"id":"\ud800"}"#] {
            let remains = Remains::of(&Bytes::from(body));
            assert!(remains.reply_to.is_none() && remains.id.is_none(), "{body}");
        }
    }

    #[test]
    fn the_answer_is_a_json_rpc_response() {
        let id = Bytes::from("7");
        let ok = Ok(Reply::new(Payload::text("on")));
        assert_eq!(
            response(Some(&id), &ok),
            r#"{"jsonrpc":"2.0","id":7,"result":"on"}"#
        );
        let fault = Fault::new(Kind::TargetError, "no").with_data(&serde_json::json!({"a": 1}));
        let answer = response(None, &Err(fault));
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let error = serde_json::json!({
            "code": -32012, "message": "no", "data": {"kind": "target_error", "detail": {"a": 1}},
        });
        let whole = serde_json::json!({"jsonrpc": "2.0", "id": null, "error": error});
        assert_eq!(answer, whole);
    }
}

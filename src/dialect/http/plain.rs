//! The dialect `http`: one URL per method, the bare result, faults as problem details.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::message::{Answer, Head, HttpDialect, Request};
use super::path::method_name;
use super::query::Query;
use crate::call::{CallId, Fault, Kind, Outcome, Payload};

/// `POST /<method>`, and `GET /<method>?…` where the route allows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl HttpDialect for Plain {
    fn verbs(&self) -> &'static str {
        "GET, HEAD, POST, OPTIONS"
    }

    fn verbs_without_get(&self) -> &'static str {
        "POST, OPTIONS"
    }

    fn without_call(&self, head: &Head) -> Option<Answer> {
        match head.verb.as_str() {
            "GET" | "HEAD" | "POST" => None,
            "OPTIONS" => Some(Answer::empty(204).with("allow", self.verbs())),
            _ => {
                let fault = Fault::new(
                    Kind::InvalidRequest,
                    "a method is called by POST, or by GET where its route has `get = true`",
                );
                let answer = problem(&fault.with_http_status(405));
                Some(answer.with("allow", self.verbs()))
            }
        }
    }

    fn needs_get_route(&self, head: &Head) -> bool {
        head.is_get()
    }

    fn credential_in_body(&self, _head: &Head) -> bool {
        false
    }

    fn read(&self, head: &Head, body: Bytes) -> Result<Request, Fault> {
        let method = method_name(&head.path)?;
        let (params, raw_body) = if head.is_get() {
            (
                Query::parse(head.query.as_bytes()).into_params(),
                Some(body),
            )
        } else {
            (Payload::from_body(body, head.header("content-type")), None)
        };
        let parts = head.parts(&method, raw_body);
        Ok(Request {
            method,
            params,
            parts,
        })
    }

    fn answer(&self, head: &Head, _id: CallId, outcome: Outcome) -> Answer {
        let answer = match outcome {
            Ok(reply) => match reply.script.and_then(|script| script.response) {
                Some(response) => Answer::of_script(&response),
                None => Answer::new(
                    200,
                    reply.payload.content_type(),
                    reply.payload.bytes().clone(),
                ),
            },
            Err(fault) => problem(&fault),
        };
        if head.is_get() && answer.header("cache-control").is_none() {
            return answer.with("cache-control", "no-store");
        }
        answer
    }

    fn refuse(&self, fault: &Fault) -> Answer {
        problem(fault)
    }
}

/// A fault as `application/problem+json` (RFC 9457) with the header fields that belong to it.
pub fn problem(fault: &Fault) -> Answer {
    let mut object = Map::new();
    object.insert("type".into(), "about:blank".into());
    object.insert("title".into(), fault.kind.title().into());
    object.insert("status".into(), fault.status().into());
    object.insert("detail".into(), fault.message.as_ref().into());
    object.insert("kind".into(), fault.kind.as_str().into());
    fault.add_hints(&mut object, "data");
    let body = Value::Object(object).to_string();
    let answer =
        Answer::new(fault.status(), "application/problem+json", body).with_retry_after(fault);
    if fault.kind == Kind::Unauthenticated {
        return answer.with("www-authenticate", "Bearer realm=\"callway\"");
    }
    answer
}

//! The dialect `http`: one URL per method, the bare result, faults as problem details.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::message::{Answer, Asked, Head, HttpDialect, Request};
use super::path::method_name;
use super::query::Query;
use super::{calls, channels};
use crate::call::{CallId, Fault, Kind, Outcome, Payload, Reply};

/// `POST /<method>`, and `GET /<method>?…` where the route allows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl HttpDialect for Plain {
    fn verbs(&self) -> &'static str {
        "GET, HEAD, POST, OPTIONS"
    }

    fn verbs_without_get(&self) -> &'static str {
        "POST"
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

    fn read(&self, head: &Head, body: Bytes) -> Result<Asked, Fault> {
        if let Some(wanted) = channels::read(head, body.clone())? {
            return Ok(Asked::Channel(wanted));
        }
        if let Some(id) = calls::read(head)? {
            return Ok(Asked::Status(id));
        }
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
        Ok(Asked::Call(Request {
            method,
            params,
            parts,
        }))
    }

    fn answer(&self, head: &Head, _id: CallId, outcome: Outcome) -> Answer {
        let answer = match outcome {
            Ok(
                reply @ Reply {
                    receipt: Some(id), ..
                },
            ) => calls::receipt(head, id, &reply),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::{ScriptReply, ScriptResponse};

    fn head(verb: &str, target: &str) -> Head {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Head {
            verb: verb.into(),
            base: "/".into(),
            path: path.into(),
            query: query.into(),
            headers: vec![("content-type".into(), "application/json".into())],
        }
    }

    fn body(answer: &Answer) -> Value {
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn a_fault_is_a_problem_with_its_hints() {
        let id = CallId::new();
        let mut fault = Fault::unavailable("link_down", "the bus is away");
        fault.call_id = Some(id);
        let answer = problem(&fault);
        assert_eq!(answer.status, 503);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(
            body(&answer),
            serde_json::json!({
                "type": "about:blank", "title": "Unavailable", "status": 503,
                "detail": "the bus is away", "kind": "unavailable", "call_id": id.to_string(),
                "retry_after": 1, "data": {"reason": "link_down"},
            })
        );

        let slow_down = problem(&Fault::over_own_rate("slower", Duration::from_millis(1500)));
        assert_eq!(slow_down.status, 429);
        assert_eq!(slow_down.header("retry-after"), Some("2"));
        let nobody = problem(&Fault::new(Kind::Unauthenticated, "who?"));
        assert_eq!(nobody.status, 401);
        assert!(nobody.header("www-authenticate").is_some());
    }

    #[test]
    fn every_kind_has_its_status_in_head_and_body() {
        for kind in Kind::all() {
            let answer = problem(&Fault::new(kind, "why"));
            assert_eq!(answer.status, kind.http_status());
            assert_eq!(body(&answer)["status"], answer.status);
            assert_eq!(body(&answer)["kind"], kind.as_str());
        }
    }

    #[test]
    fn other_verbs_are_told_which_to_use() {
        for verb in ["PUT", "DELETE", "PATCH", "TRACE", "get"] {
            let answer = Plain.without_call(&head(verb, "m")).unwrap();
            assert_eq!(answer.status, 405, "{verb}");
            assert!(answer.header("allow").unwrap().contains("POST"));
        }
        assert_eq!(
            Plain.without_call(&head("OPTIONS", "m")).unwrap().status,
            204
        );
        assert_eq!(Plain.without_call(&head("POST", "m")), None);
    }

    #[test]
    fn a_post_carries_its_body_and_a_get_its_query() {
        let read = |head: &Head, body| match Plain.read(head, body) {
            Ok(Asked::Call(request)) => request,
            other => panic!("{other:?}"),
        };
        let post = read(&head("POST", "a/b?x=1"), Bytes::from_static(b"[1]"));
        assert_eq!(
            (post.method.as_str(), &post.params.bytes()[..]),
            ("a/b", &b"[1]"[..])
        );
        assert_eq!(post.parts.query, "x=1");
        let get = read(&head("GET", "a/b?x=1"), Bytes::new());
        assert_eq!(get.params.bytes(), r#"{"x":"1"}"#.as_bytes());
    }

    #[test]
    fn results_are_bare_and_gets_are_not_stored() {
        let reply = |payload| Ok(Reply::new(payload));
        let answer = |verb, outcome| Plain.answer(&head(verb, "m"), CallId::new(), outcome);
        let json = answer("POST", reply(Payload::json(r#"{"a":1}"#)));
        assert_eq!(json.header("content-type"), Some("application/json"));
        assert_eq!(json.body, r#"{"a":1}"#.as_bytes());
        assert_eq!(json.header("cache-control"), None);
        let text = answer("GET", reply(Payload::text("plain")));
        assert_eq!(
            text.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(text.header("cache-control"), Some("no-store"));
        let failed = answer("GET", Err(Fault::new(Kind::Timeout, "late")));
        assert_eq!(failed.header("cache-control"), Some("no-store"));
    }

    #[test]
    fn what_a_script_wrote_takes_the_place_of_the_answer() {
        let mut reply = Reply::new(Payload::null());
        reply.script = Some(Box::new(ScriptReply {
            log: Vec::new(),
            response: Some(ScriptResponse {
                status: 418,
                headers: vec![("Content-Type".into(), "text/html".into())],
                body: Bytes::from_static(b"<b>tea</b>"),
            }),
        }));
        let answer = Plain.answer(&head("POST", "m"), CallId::new(), Ok(reply));
        assert_eq!(answer.status, 418);
        assert_eq!(answer.header("content-type"), Some("text/html"));
        assert_eq!(answer.body, "<b>tea</b>".as_bytes());
    }
}

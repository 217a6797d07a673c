//! scriptr.io's HTTP form: the path names the script, parameters come from wherever they stand.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::failure::Failure;
use super::form::{self, Form, file};
use super::routed;
use super::wire::{json as quoted, push_log};
use crate::auth::Secret;
use crate::call::{CallId, Fault, HttpParts, Kind, Outcome, Payload, Reply};
use crate::config::ScriptrOptions;
use crate::dialect::http::{
    Answer, Asked, Head, HttpDialect, Query, Request, method_name, without_credentials,
};

const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

/// Any verb on `/<path/to/script>`; the result or the failure in scriptr.io's wrapper.
#[derive(Clone, Debug)]
pub struct Rest(Arc<ScriptrOptions>);

impl Rest {
    /// With the options of its endpoint.
    pub fn new(options: Arc<ScriptrOptions>) -> Rest {
        Rest(options)
    }
}

impl HttpDialect for Rest {
    fn verbs(&self) -> &'static str {
        "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    }

    fn verbs_without_get(&self) -> &'static str {
        self.verbs()
    }

    fn without_call(&self, head: &Head) -> Option<Answer> {
        const VERBS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        if VERBS.contains(&head.verb.as_str()) {
            return None;
        }
        let fault = Fault::new(Kind::InvalidRequest, "no script is called with this verb");
        let answer = self.refuse(&fault.with_http_status(405));
        Some(answer.with("allow", self.verbs()))
    }

    fn needs_get_route(&self, _head: &Head) -> bool {
        false
    }

    fn credential_in_body(&self, head: &Head) -> bool {
        has_type(head, URLENCODED) || has_type(head, MULTIPART)
    }

    fn credentials_in(&self, head: &Head, body: &Bytes) -> Vec<Secret> {
        if !has_type(head, MULTIPART) {
            return Query::credentials(body);
        }
        form::credentials(content_type(head), body)
    }

    fn read(&self, head: &Head, body: Bytes) -> Result<Asked, Fault> {
        let script = method_name(head.path.trim_start_matches('/'))?;
        let Sent {
            params,
            raw_body,
            files,
        } = sent(head, body)?;
        Ok(Asked::Call(Request {
            method: routed(&self.0, &script),
            params,
            parts: HttpParts {
                files,
                ..head.parts(&script, raw_body)
            },
        }))
    }

    fn answer(&self, _head: &Head, id: CallId, outcome: Outcome) -> Answer {
        match outcome {
            Ok(reply) => match reply.script.as_ref().and_then(|s| s.response.as_ref()) {
                Some(response) => Answer::of_script(response),
                None => success(id, &reply),
            },
            Err(fault) => self.refuse(&fault),
        }
    }

    fn refuse(&self, fault: &Fault) -> Answer {
        let failure = Failure::of(fault);
        let body = format!(
            r#"{{"response":{{"metadata":{{"requestId":"{}","status":"failure","statusCode":{},"errorCode":{},"errorDetail":{}}}}}}}"#,
            fault.call_id.unwrap_or_default(),
            failure.status,
            quoted(&failure.code),
            quoted(&failure.detail),
        );
        Answer::new(failure.status, "application/json", body)
            .with("cache-control", "no-store")
            .with_retry_after(fault)
    }
}

/// What a request carries.
struct Sent {
    params: Payload,
    /// The body, where the params were made from something else.
    raw_body: Option<Bytes>,
    /// JSON text.
    files: Option<Bytes>,
}

fn sent(head: &Head, body: Bytes) -> Result<Sent, Fault> {
    let mut query = Query::parse(head.query.as_bytes());
    let sent = |params, raw_body| Sent {
        params,
        raw_body,
        files: None,
    };
    if has_type(head, MULTIPART) {
        let form = Form::read(content_type(head), &body)?;
        query.extend(form.fields);
        return Ok(Sent {
            files: Some(Value::Object(form.files).to_string().into()),
            // Whoever wants to see it sees its parts: it may hold a credential.
            ..sent(query.into_params(), Some(Bytes::new()))
        });
    }
    if body.is_empty() {
        return Ok(sent(query.into_params(), Some(body)));
    }
    // An upload as scriptr's Node.js client makes it: any body, with its name in the query.
    if let Some(name) = query.get("fileName") {
        const FIELD: &str = "file";
        let file = file(FIELD, name, head.header("content-type"), &body);
        return Ok(Sent {
            files: Some(json!({ FIELD: [file] }).to_string().into()),
            ..sent(query.into_params(), Some(body))
        });
    }
    // `curl -d '{…}'` calls JSON a form; a real form has its braces escaped.
    let looks_like_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    if has_type(head, URLENCODED) && !looks_like_json {
        query.extend(Query::parse(&body));
        let shown = match std::str::from_utf8(&body) {
            Ok(form) => Bytes::from(without_credentials(form)),
            Err(_) => Bytes::new(),
        };
        return Ok(sent(query.into_params(), Some(shown)));
    }
    let params = Payload::from_body(body.clone(), head.header("content-type"));
    if query.is_empty() {
        return Ok(sent(params, None));
    }
    Ok(sent(merged(query, params), Some(body)))
}

/// The members of the query and of a JSON body together; the body's win. Any other body stands
/// beside the query, as `rawBody`.
fn merged(query: Query, body: Payload) -> Payload {
    let text = body.bytes().trim_ascii_start();
    if text.first() != Some(&b'{') {
        return query.into_params();
    }
    let Ok(members) = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(text) else {
        return body; // refused with the same words as without a query
    };
    let mut object = BTreeMap::new();
    for (name, value) in query.into_object() {
        object.insert(Cow::Owned(name), value.to_string());
    }
    for (name, value) in members {
        object.insert(name, value.get().to_owned());
    }
    let members: Vec<_> = object
        .iter()
        .map(|(name, value)| format!("{}:{value}", quoted(name)))
        .collect();
    Payload::unchecked_json(format!("{{{}}}", members.join(",")))
}

fn has_type(head: &Head, essence: &str) -> bool {
    let value = content_type(head).split(';').next();
    value.is_some_and(|value| value.trim().eq_ignore_ascii_case(essence))
}

fn content_type(head: &Head) -> &str {
    head.header("content-type").unwrap_or_default()
}

fn success(id: CallId, reply: &Reply) -> Answer {
    let result = reply.payload.as_json();
    let mut text = String::with_capacity(result.len() + 160);
    text.push_str(r#"{"response":{"metadata":{"requestId":""#);
    text.push_str(&id.to_string());
    text.push_str(r#"","status":"success","statusCode":"200""#);
    push_log(&mut text, reply);
    text.push_str(r#"},"result":"#);
    text.push_str(&result);
    text.push_str("}}");
    Answer::new(200, "application/json", text).with("cache-control", "no-store")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::router::Template;

    fn rest(methods: &str) -> Rest {
        Rest::new(Arc::new(ScriptrOptions {
            anonymous: None,
            legacy_envelope: false,
            ordered: true,
            methods: Template::parse(methods).unwrap(),
        }))
    }

    fn call(asked: Result<Asked, Fault>) -> Result<Request, Fault> {
        match asked? {
            Asked::Call(request) => Ok(request),
            other => panic!("{other:?}"),
        }
    }

    fn request(path: &str, query: &str, kind: &str, body: &'static str) -> Result<Request, Fault> {
        let head = Head {
            verb: "POST".into(),
            base: "/".into(),
            path: path.into(),
            query: query.into(),
            headers: vec![("content-type".into(), kind.into())],
        };
        call(rest("{path...}").read(&head, Bytes::from_static(body.as_bytes())))
    }

    fn params(query: &str, kind: &str, body: &'static str) -> Value {
        let mut params = request("a", query, kind, body).unwrap().params;
        params.check(128).unwrap();
        params.to_value()
    }

    #[test]
    fn parameters_come_from_wherever_they_stand() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(params("", "", ""), Value::Null);
        assert_eq!(
            params("a=1&b=x", "", ""),
            serde_json::json!({"a":"1","b":"x"})
        );
        assert_eq!(
            params("a=1", form, "b=2&token=secret"),
            serde_json::json!({"a":"1","b":"2"})
        );
        assert_eq!(
            params("", form, r#"{"curl":true}"#),
            serde_json::json!({"curl":true})
        );
        assert_eq!(
            params("a=1&b=2", "application/json", r#"{"b":[3]}"#),
            serde_json::json!({"a":"1","b":[3]})
        );
        assert_eq!(params("", "text/plain", "{plain"), "{plain");
        assert_eq!(
            params("a=1", "text/plain", "x"),
            serde_json::json!({"a":"1"})
        );
    }

    #[test]
    fn what_was_made_into_params_is_kept_without_its_credential() {
        let form = "application/x-www-form-urlencoded";
        let asked = request("a", "", form, "b=2&auth_token=secret&c=3").unwrap();
        assert_eq!(asked.parts.raw_body.unwrap(), "b=2&c=3".as_bytes());
        let asked = request("a", "q=1", "text/csv", "x,y").unwrap();
        assert_eq!(asked.parts.raw_body.unwrap(), "x,y".as_bytes());
        let asked = request("a", "", "text/csv", "x,y").unwrap();
        assert_eq!(asked.parts.raw_body, None, "the params are the body");
    }

    #[test]
    fn files_stand_beside_the_parameters() {
        let kind = "multipart/form-data; boundary=x";
        let fault = request("a", "", kind, "--x").unwrap_err();
        assert_eq!((fault.kind, fault.status()), (Kind::InvalidRequest, 400));

        let upload = request("a", "fileName=a.csv&q=1", "text/csv", "x,y").unwrap();
        let files: Value = serde_json::from_slice(&upload.parts.files.unwrap()).unwrap();
        assert_eq!(files["file"][0]["fileName"], "a.csv");
        assert_eq!(files["file"][0]["content"], "x,y");
        assert_eq!(upload.parts.raw_body.unwrap(), "x,y".as_bytes());
        let mut params = upload.params;
        params.check(128).unwrap();
        assert_eq!(
            params.to_value(),
            serde_json::json!({"fileName": "a.csv", "q": "1"})
        );
    }

    #[test]
    fn the_path_is_the_script() {
        assert_eq!(
            request("tutorials/a%20b", "", "", "").unwrap().method,
            "tutorials/a b"
        );
        assert_eq!(request("/a/b", "", "", "").unwrap().method, "a/b");
        let head = Head {
            path: "x".into(),
            ..Head::default()
        };
        let asked = call(rest("acme/{path...}").read(&head, Bytes::new())).unwrap();
        assert_eq!(asked.method, "acme/x");
    }

    #[test]
    fn a_refused_token_is_what_clients_renew_on() {
        let answer = rest("{path...}").refuse(&Fault::new(Kind::Unauthenticated, "no"));
        assert_eq!(answer.status, 400);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let metadata = &body["response"]["metadata"];
        assert_eq!(metadata["errorCode"], "INVALID_TOKEN");
        assert_eq!(metadata["statusCode"], 400, "a number in failures");
        assert_eq!(metadata["status"], "failure");
    }
}

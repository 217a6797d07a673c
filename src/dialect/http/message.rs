//! Requests and answers as plain data, and what a dialect does with them.

use std::borrow::Cow;

use bytes::Bytes;

use super::channels::{self, Wanted};
use super::query::{self, Query};
use crate::auth::Secret;
use crate::call::{CallId, Fault, HttpParts, Outcome, Payload, ScriptResponse};
use crate::dialect::Told;

/// Header fields that carry credentials and are shown to nobody.
const CREDENTIALS: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "sec-websocket-protocol",
];

/// Header fields that belong to one connection (RFC 9110 §7.6.1) or that the server writes.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
];

/// The head of a request.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// `GET`, `POST`, ….
    pub verb: String,
    /// The path of the endpoint, with a slash at its end.
    pub base: String,
    /// The path below the endpoint as it came: percent-encoded, without a leading slash.
    pub path: String,
    /// The query as it came, without `?`.
    pub query: String,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first field of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every field of this (lower-case) name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the verb is `GET` or `HEAD`.
    pub fn is_get(&self) -> bool {
        matches!(self.verb.as_str(), "GET" | "HEAD")
    }

    /// What scripts may see of it. Credentials are left out.
    pub fn parts(&self, path: &str, raw_body: Option<Bytes>) -> HttpParts {
        HttpParts {
            verb: self.verb.clone(),
            path: format!("/{path}"),
            query: query::without_credentials(&self.query),
            headers: self
                .headers
                .iter()
                .filter(|(name, _)| !CREDENTIALS.contains(&name.as_str()))
                .cloned()
                .collect(),
            raw_body,
            files: None,
        }
    }
}

/// What a dialect makes of a request.
#[derive(Debug)]
pub enum Asked {
    /// A call.
    Call(Request),
    /// Something of a channel.
    Channel(Wanted),
    /// How far a one-way call has come.
    Status(CallId),
}

/// A call as a request asks for it.
#[derive(Debug)]
pub struct Request {
    /// The method to call; the dispatcher checks that it is a name.
    pub method: String,
    /// What it is called with.
    pub params: Payload,
    /// The request itself, for scripts.
    pub parts: HttpParts,
}

/// The whole answer to one request. `content-length` is added where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// An answer with a body of this type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Answer {
        Answer {
            status,
            headers: vec![("content-type".into(), content_type.to_owned())],
            body: body.into(),
        }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds the hint when to try again that a fault carries.
    #[must_use]
    pub fn with_retry_after(self, fault: &Fault) -> Answer {
        match fault.retry_after_secs() {
            Some(seconds) => self.with("retry-after", seconds.to_string()),
            None => self,
        }
    }

    /// The value of this (lower-case) header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    /// What a script wrote takes the place of the usual answer. Fields that would break the
    /// connection are left out.
    pub fn of_script(response: &ScriptResponse) -> Answer {
        let headers = response
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()))
            .map(|(name, value)| (name.into(), value.clone()))
            .collect();
        let mut answer = Answer {
            // 1xx is not an answer, and nothing else is a status (RFC 9110 §15).
            status: match response.status {
                200..=599 => response.status,
                _ => 500,
            },
            headers,
            body: response.body.clone(),
        };
        if answer.header("content-type").is_none() && !answer.body.is_empty() {
            answer = answer.with("content-type", "text/plain; charset=utf-8");
        }
        answer
    }
}

/// A dialect with an HTTP form.
pub trait HttpDialect: Send + Sync {
    /// The verbs it takes, as `Allow` and CORS list them.
    fn verbs(&self) -> &'static str;

    /// The answer to a request that asks for no call: a verb that is not taken, `OPTIONS`.
    fn without_call(&self, head: &Head) -> Option<Answer>;

    /// Whether this request may only be carried out on a route with `get = true`.
    fn needs_get_route(&self, head: &Head) -> bool;

    /// The verbs of a method whose route has no `get = true`, for `Allow`.
    fn verbs_without_get(&self) -> &'static str;

    /// Whether the credential may stand in the body, which must then be read before it is known
    /// who calls.
    fn credential_in_body(&self, head: &Head) -> bool;

    /// The credentials in such a body.
    fn credentials_in(&self, _head: &Head, body: &Bytes) -> Vec<Secret> {
        Query::credentials(body)
    }

    /// What a request asks for.
    fn read(&self, head: &Head, body: Bytes) -> Result<Asked, Fault>;

    /// The answer to a request whose call, of this id, came to an outcome.
    fn answer(&self, head: &Head, id: CallId, outcome: Outcome) -> Answer;

    /// The answer to what was asked of a channel.
    fn told(&self, told: &Told) -> Answer {
        channels::told(told)
    }

    /// The answer to a request that nothing came of.
    fn refuse(&self, fault: &Fault) -> Answer;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_see_no_credentials() {
        let head = Head {
            verb: "GET".into(),
            base: "/".into(),
            path: "m".into(),
            query: "a=1&token=secret&b=2".into(),
            headers: vec![
                ("authorization".into(), "Bearer secret".into()),
                ("cookie".into(), "t=secret".into()),
                ("x-device".into(), "7".into()),
            ],
        };
        let shown = format!("{:?}", head.parts("m", None));
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("x-device") && shown.contains("a=1&b=2"));
    }

    #[test]
    fn a_script_cannot_break_the_connection() {
        let answer = Answer::of_script(&ScriptResponse {
            status: 101,
            headers: vec![
                ("Content-Length".into(), "9999".into()),
                ("Transfer-Encoding".into(), "chunked".into()),
                ("X-Mine".into(), "yes".into()),
            ],
            body: Bytes::from_static(b"hello"),
        });
        assert_eq!(answer.status, 500);
        assert_eq!(answer.header("content-length"), None);
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_eq!(answer.header("x-mine"), Some("yes"));
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
    }
}

//! The HTTP twins: the path names the action, a header holds the token.

use std::sync::Arc;

use bytes::Bytes;

use super::fields::Fields;
use super::plan::{Action, reserved};
use super::said::{NOT_JSON, Said, bad};
use crate::auth::Secret;
use crate::call::{Fault, HttpParts};
use crate::config::ActionOptions;
use crate::dialect::http::{Answer, Head, method_name};

/// The verbs that are taken somewhere, for CORS.
pub const VERBS: &str = "GET, HEAD, POST, OPTIONS";

/// Reads requests to an endpoint.
#[derive(Clone, Debug)]
pub struct Rest(Arc<ActionOptions>);

impl Rest {
    /// With the options of its endpoint.
    pub fn new(options: Arc<ActionOptions>) -> Rest {
        Rest(options)
    }

    /// The answer to a request whose body need not be read.
    pub fn at_once(&self, head: &Head) -> Option<Answer> {
        let allowed = match head.path.trim_end_matches('/') {
            "health" if head.is_get() => {
                return Some(Answer::new(200, "text/plain; charset=utf-8", "OK"));
            }
            "Status" if head.is_get() => {
                let body = r#"{"message":"OK","status":200}"#;
                return Some(Answer::new(200, "application/json", body));
            }
            "health" | "Status" => "GET, HEAD, OPTIONS",
            "GetEntities" if matches!(&*head.verb, "GET" | "POST") => return None,
            "GetEntities" => "GET, POST, OPTIONS",
            _ if head.verb == "POST" => return None,
            _ => "POST, OPTIONS",
        };
        if head.verb == "OPTIONS" {
            return Some(Answer::empty(204).with("allow", allowed));
        }
        let refusal = bad("", 405, "Method not allowed").to_answer();
        Some(refusal.with("allow", allowed))
    }

    /// The action that a request with this body is, and the request itself for scripts; or what is
    /// wrong with it. No body at all is an object without members.
    pub fn read(&self, head: &Head, body: &Bytes) -> Result<(Action, HttpParts), Answer> {
        self.action(head, body).map_err(|said| said.to_answer())
    }

    fn action(&self, head: &Head, body: &Bytes) -> Result<(Action, HttpParts), Said> {
        let name = method_name(head.path.trim_end_matches('/'));
        let name = name.map_err(|fault| bad("", fault.status(), fault.message.clone()))?;
        let fields = match body.is_empty() {
            true => Some(Fields::default()),
            false => Fields::read(body, reserved(&self.0)),
        };
        let mut fields = fields.ok_or_else(|| bad("", 400, NOT_JSON))?;
        // The header counts; a token in the body would be one for a socket.
        fields.token = token(head);
        let parts = head.parts(&name, None);
        Ok((Action::of(&name, fields, &self.0)?, parts))
    }

    /// The answer to a request that nothing came of.
    pub fn refuse(&self, fault: &Fault) -> Answer {
        let said = bad("", fault.status(), fault.message.clone());
        said.with_retry_after(fault).to_answer()
    }
}

/// `Authorization: <token>`, as this protocol has it; the usual scheme before it is forgiven.
fn token(head: &Head) -> Option<Secret> {
    let value = head.header("authorization")?.trim();
    let bare = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => value,
    };
    (!bare.is_empty()).then(|| Secret::new(bare))
}

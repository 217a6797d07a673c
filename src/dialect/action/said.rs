//! What is said to a client, in the words of the protocol: as a frame, or as an HTTP answer.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::auth::Secret;
use crate::call::{Fault, Payload};
use crate::dialect::http;

/// How answers call the action `TakeDecision`.
pub(super) const DECISION: &str = "MakeDecision";

pub(super) const NOT_JSON: &str = "Error while decoding JSON message";
pub(super) const MISSING_FIELDS: &str = "Missing required fields in the JSON message";
pub(super) const NOT_SAVED: &str = "Error saving in database";
pub(super) const NO_DECISION: &str = "Error while calling MakeDecision service";
const DISCONNECTED: &str = "Disconnected";

/// An answer to one message.
#[derive(Debug)]
pub struct Said {
    route: Arc<str>,
    what: What,
}

#[derive(Debug)]
enum What {
    Token(Secret),
    Disconnected,
    Result(Payload),
    Error {
        message: Cow<'static, str>,
        status: u16,
        retry_after: Option<u64>,
        /// The protocol has silence here.
        unknown: bool,
    },
}

/// An error; `status` is that of HTTP.
pub(super) fn bad(route: &str, status: u16, message: impl Into<Cow<'static, str>>) -> Said {
    let what = What::Error {
        message: message.into(),
        status,
        retry_after: None,
        unknown: false,
    };
    Said::of(route, what)
}

impl Said {
    fn of(route: &str, what: What) -> Said {
        let route = route.into();
        Said { route, what }
    }

    pub(super) fn token(route: &str, token: Secret) -> Said {
        Said::of(route, What::Token(token))
    }

    pub(super) fn disconnected(route: &str) -> Said {
        Said::of(route, What::Disconnected)
    }

    pub(super) fn result(route: &str, result: Payload) -> Said {
        Said::of(route, What::Result(result))
    }

    pub(super) fn with_retry_after(mut self, fault: &Fault) -> Said {
        if let What::Error { retry_after, .. } = &mut self.what {
            *retry_after = fault.retry_after_secs();
        }
        self
    }

    /// It is about an action that nobody knows.
    pub(super) fn unknown(mut self) -> Said {
        if let What::Error { unknown, .. } = &mut self.what {
            *unknown = true;
        }
        self
    }

    /// Whether the protocol has silence in its place.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.what, What::Error { unknown: true, .. })
    }

    /// The frame. One client generation reads `token` and `message`, the one before `data`.
    pub fn to_frame(&self) -> String {
        let route = &*self.route;
        let success = |more: &str| {
            let route = Value::from(route);
            format!(r#"{{"status":"success","route":{route},{more}}}"#)
        };
        match &self.what {
            What::Token(token) => {
                let token = Value::from(token.expose());
                success(&format!(r#""token":{token},"data":{token}"#))
            }
            What::Disconnected => success(r#""message":"Disconnected","data":"Disconnected""#),
            What::Result(result) => {
                let result = result.as_json();
                let data = format!(r#"{{"message":{result},"status":200}}"#);
                success(&format!(r#""message":{result},"data":{data}"#))
            }
            What::Error { message, .. } => {
                json!({ "status": "error", "route": route, "message": message }).to_string()
            }
        }
    }

    /// The HTTP answer.
    pub fn to_answer(&self) -> http::Answer {
        let (status, message, token, retry_after) = match &self.what {
            What::Token(token) => (200, told(&self.route).into(), Some(token), None),
            What::Disconnected => (200, json!(DISCONNECTED).to_string().into(), None, None),
            What::Result(result) => (200, result.as_json(), None, None),
            What::Error {
                message,
                status,
                retry_after,
                ..
            } => {
                let message = json!(message).to_string();
                (*status, message.into(), None, *retry_after)
            }
        };
        let token = token.map_or_else(String::new, |token| {
            format!(r#","token":{}"#, Value::from(token.expose()))
        });
        let body = format!(r#"{{"message":{message},"status":{status}{token}}}"#);
        let answer =
            http::Answer::new(status, "application/json", body).with("cache-control", "no-store");
        let answer = match status {
            401 => answer.with("www-authenticate", "Bearer realm=\"callway\""),
            _ => answer,
        };
        match retry_after {
            Some(seconds) => answer.with("retry-after", seconds.to_string()),
            None => answer,
        }
    }
}

/// What has happened to who got a token.
fn told(route: &str) -> String {
    let told = match route {
        "Register" => "Registered",
        _ => "Connected",
    };
    Value::from(told).to_string()
}

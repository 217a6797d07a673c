//! The HTTP form: what a request asks for, and how answers look.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Refusal, User, channel};
use crate::call::unix_ms;
use crate::config::TalkeeOptions;
use crate::dialect::http::{Answer, Head, allow_origin};

/// Header fields that a page of the system sends.
const REQUEST_HEADERS: &str = "Origin, Content-Length, Content-Type, Authorization, \
                               X-TALKEE-SITE-ID, X-TALKEE-SITE-SLUG";
const VERBS: &str = "GET, POST, PUT, DELETE, OPTIONS";
/// Seconds for which a browser may remember a preflight.
const MAX_AGE: &str = "86400";

/// Which of the two services of the system a path belongs to; each has its own way to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Below `/api`: everything is wrapped in `{"ts","data"}`.
    Api,
    /// The rest: nothing is.
    Rooms,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To be allowed to ask.
    Preflight,
    /// Whether the service is there.
    Health,
    /// A WebSocket, but the request is no handshake for one.
    Socket,
    /// The latest messages of a room.
    Latest(Arc<str>),
    /// To say something in a room.
    Say(Arc<str>),
    /// To log in.
    Login,
    /// Who it is that asks.
    Me,
    /// A user by number.
    User(u64),
    /// The text back.
    Echo(String),
    /// The text in the body back.
    EchoBody,
}

/// What a request asks for. Slashes at the end of its path are nothing.
pub fn read(options: &TalkeeOptions, head: &Head) -> (Area, Result<Wanted, Refusal>) {
    let path = head.path.trim_end_matches('/');
    let mut segments = path.split('/');
    let area = match segments.next() {
        Some("api") => Area::Api,
        _ => Area::Rooms,
    };
    if head.verb == "OPTIONS" {
        return (area, Ok(Wanted::Preflight));
    }
    let verb = if head.is_get() { "GET" } else { &*head.verb };
    let not_found = || Refusal::new(404, "not found");
    let wanted = match (verb, path) {
        ("GET", "hc") => Ok(Wanted::Health),
        ("GET", "ws") => channel(options, head).map(|_room| Wanted::Socket),
        ("GET", "ws/messages") => channel(options, head).map(Wanted::Latest),
        ("POST", "ws/messages") => channel(options, head).map(Wanted::Say),
        ("POST", "api/auth/login") => Ok(Wanted::Login),
        ("GET", "api/me") => Ok(Wanted::Me),
        ("POST", "api/echo") => Ok(Wanted::EchoBody),
        ("GET", _) => match (segments.next(), segments.next(), segments.next()) {
            (Some("users"), Some(id), None) if area == Area::Api => id
                .parse()
                .map(Wanted::User)
                .map_err(|_| Refusal::new(400, "invalid user id")),
            (Some("echo"), Some(text), None) if area == Area::Api => {
                let text = percent_decode_str(text).decode_utf8_lossy();
                Ok(Wanted::Echo(text.into_owned()))
            }
            _ => Err(not_found()),
        },
        _ => Err(not_found()),
    };
    (area, wanted)
}

/// JSON as it is.
pub fn plain(json: impl Into<bytes::Bytes>) -> Answer {
    Answer::new(200, "application/json", json).with("cache-control", "no-store")
}

/// JSON in the wrapper that says when it was made.
pub fn wrapped(json: &str) -> Answer {
    plain(format!(r#"{{"ts":{},"data":{json}}}"#, unix_ms()))
}

/// A refusal. Its status is 200 whatever it says.
pub fn refuse(area: Area, refusal: &Refusal) -> Answer {
    let json = json_of(refusal);
    match area {
        Area::Api => wrapped(&json),
        Area::Rooms => plain(json),
    }
}

/// The answer to a login.
pub fn login(user: &User, access_token: &str) -> Answer {
    wrapped(&json!({"user": user, "access_token": access_token}).to_string())
}

/// Whether the service is there, and since when.
pub fn health(uptime_seconds: u64) -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    plain(json!({"uptime": format!("{uptime_seconds}s"), "version": version}).to_string())
}

/// The text that a body asks to have back.
pub fn echo(body: &[u8]) -> Result<String, Refusal> {
    #[derive(Deserialize)]
    struct Body {
        msg: String,
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| Refusal::malformed())?;
    match body.msg.is_empty() {
        true => Err(Refusal::new(400, "msg is empty")),
        false => Ok(body.msg),
    }
}

/// Lets a page of an allowed origin read an answer, and ask at all.
pub fn cors(answer: Answer, preflight: bool, head: &Head, allowed: Option<&[String]>) -> Answer {
    let answer = match preflight {
        true => answer
            .with("access-control-allow-methods", VERBS)
            .with("access-control-allow-headers", REQUEST_HEADERS)
            .with("access-control-max-age", MAX_AGE),
        false => answer,
    };
    allow_origin(answer, head.header("origin"), allowed)
}

/// As JSON; what this process made always has a JSON form.
pub fn json_of(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Template;

    fn asked(verb: &str, path: &str) -> (Area, Result<Wanted, Refusal>) {
        let options = TalkeeOptions {
            channel: Template::parse("talkee/{site_id}/{slug}").unwrap(),
            bare_lists: false,
            anonymous_read: false,
            jwt_secret: None,
            users: Vec::new(),
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let head = Head {
            verb: verb.into(),
            path: path.into(),
            query: query.into(),
            ..Head::default()
        };
        read(&options, &head)
    }

    #[test]
    fn what_is_not_there_is_not_found_in_its_own_words() {
        for (verb, path, area) in [
            ("GET", "", Area::Rooms),
            ("GET", "ws/rooms", Area::Rooms),
            ("DELETE", "ws/messages?site_id=1&slug=a", Area::Rooms),
            ("GET", "echo/x", Area::Rooms),
            ("GET", "api", Area::Api),
            ("GET", "api/sites", Area::Api),
            ("GET", "api/users/1/2", Area::Api),
            ("POST", "api/me", Area::Api),
        ] {
            let expected = (area, Err(Refusal::new(404, "not found")));
            assert_eq!(asked(verb, path), expected, "{verb} {path}");
        }
        let refused = asked("GET", "api/users/x");
        assert_eq!(refused.1, Err(Refusal::new(400, "invalid user id")));
        let refused = asked("GET", "ws/messages");
        assert_eq!(refused.1, Err(Refusal::new(400, "invalid site id")));
    }

    #[test]
    fn slashes_at_the_end_are_nothing() {
        let room = || "talkee/1/a".into();
        for (verb, path, wanted) in [
            ("GET", "hc/", Wanted::Health),
            (
                "GET",
                "ws/messages//?site_id=1&slug=a&filter=latest",
                Wanted::Latest(room()),
            ),
            ("POST", "ws/messages/?site_id=1&slug=a", Wanted::Say(room())),
            ("POST", "api/auth/login/", Wanted::Login),
            ("HEAD", "api/me/", Wanted::Me),
            ("GET", "api/users/7/", Wanted::User(7)),
            ("GET", "api/echo/a%20b/", Wanted::Echo("a b".into())),
            ("OPTIONS", "api/assets", Wanted::Preflight),
        ] {
            assert_eq!(asked(verb, path).1, Ok(wanted), "{verb} {path}");
        }
    }
}

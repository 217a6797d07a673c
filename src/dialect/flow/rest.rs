//! The REST API `rest/v1`: what a request wants, and what it is told.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::answer::whole;
use super::message::drop_nulls;
use super::{Message, Thread};
use crate::call::{CallId, Fault, Kind, rfc3339, unix_ms};
use crate::config::FlowOptions;
use crate::dialect::http::{Answer, Head, Query};

/// Characters of a text message, as the original bounds them.
const LONGEST_SPEECH: usize = 255;
/// Kinds of media.
const MEDIA: [&str; 4] = ["image", "file", "audio", "video"];
/// What the original has and callway has not.
const ABSENT: [&str; 9] = [
    "handover",
    "takeover",
    "resolve",
    "trigger",
    "businesshours",
    "pause",
    "broadcast",
    "audience",
    "segments",
];

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A name for a new thread.
    NewThread,
    /// To say something in this thread.
    Say(String, Patience),
    /// A page of this thread, the newest first.
    History(String, usize),
    /// A page of the threads.
    Threads(usize),
}

/// What a message is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// That it is kept.
    Kept,
    /// `writeConcern=true`: that it is answered.
    Done,
    /// `sync=true`: its reply.
    Reply,
}

/// What a request wants, by its path below `rest/v1/`.
pub fn wanted(head: &Head, path: &str) -> Result<Wanted, Fault> {
    let query = Query::parse(head.query.as_bytes());
    let path = path.strip_suffix('/').unwrap_or(path);
    let (first, thread) = match path.split_once('/') {
        Some((first, thread)) => (first, Some(name(thread)?)),
        None => (path, None),
    };
    match (first, thread, head.verb.as_str()) {
        ("messages", None, "POST") => Ok(Wanted::NewThread),
        ("messages", Some(thread), "POST") => Ok(Wanted::Say(thread, patience(&query))),
        ("messages", Some(thread), "GET") => Ok(Wanted::History(thread, page(&query)?)),
        ("threads", None, "GET") => Ok(Wanted::Threads(page(&query)?)),
        ("messages" | "threads", ..) => Err(Fault::new(
            Kind::InvalidRequest,
            "no request of this kind is taken here",
        )
        .with_http_status(405)),
        (absent, ..) if ABSENT.contains(&absent) => Err(Fault::new(
            Kind::InvalidRequest,
            format!("callway has no {absent}; its REST API has messages and threads"),
        )
        .with_http_status(501)),
        _ => Err(Fault::new(
            Kind::MethodNotFound,
            "the REST API has messages and threads",
        )),
    }
}

fn name(encoded: &str) -> Result<String, Fault> {
    let decoded = percent_decode_str(encoded).decode_utf8();
    let decoded = decoded.map_err(|_| invalid("the threadId is not UTF-8".into()))?;
    Ok(decoded.into_owned())
}

/// Whether the answer alone is waited for.
pub fn is_sync(head: &Head) -> bool {
    Query::parse(head.query.as_bytes()).get("sync") == Some("true")
}

fn patience(query: &Query) -> Patience {
    let is_set = |name| query.get(name) == Some("true");
    match (is_set("sync"), is_set("writeConcern")) {
        (true, _) => Patience::Reply,
        (false, true) => Patience::Done,
        (false, false) => Patience::Kept,
    }
}

fn page(query: &Query) -> Result<usize, Fault> {
    let page = query.get("page").map_or(Ok(1), str::parse);
    let page = page.ok().filter(|page| (1..=1_000_000).contains(page));
    page.ok_or_else(|| invalid("page is a number from 1".into()))
}

/// Reads the body of a message: `{"payload":{"type",…}}`. It becomes what a socket would send.
pub fn message(options: &FlowOptions, thread: &str, body: &[u8]) -> Result<Message, Fault> {
    let thread = Thread::named(options, thread)?;
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Fault::new(Kind::ParseError, format!("not JSON: {error}")))?;
    let Some(Value::Object(payload)) = body.get("payload") else {
        return Err(invalid("a message is {\"payload\":{…}}".into()));
    };
    let mut payload = payload.clone();
    payload.remove("nonce");
    drop_nulls(&mut payload);
    complete(&mut payload).map_err(invalid)?;
    for name in ["originator", "metadata"] {
        if !matches!(payload.get(name), None | Some(Value::Object(_))) {
            return Err(invalid(format!("{name} is an object")));
        }
    }
    Ok(Message::complete(thread, payload, None))
}

/// Checks what belongs to its type, and adds `speech` and `attachment`.
fn complete(payload: &mut Map<String, Value>) -> Result<(), String> {
    let text = |payload: &Map<String, Value>, name: &str| {
        let text = payload.get(name).and_then(Value::as_str);
        let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
        text.ok_or_else(|| format!("{name} is missing"))
    };
    let kind = text(payload, "type")?;
    let content = match kind.as_str() {
        "text" => {
            let speech = text(payload, "speech")?;
            if speech.chars().count() > LONGEST_SPEECH {
                return Err(format!("speech has at most {LONGEST_SPEECH} characters"));
            }
            return Ok(());
        }
        "event" => json!({ "name": text(payload, "eventName")? }),
        "location" => {
            let of = |name: &str| match payload.get(name) {
                Some(place @ (Value::String(_) | Value::Number(_))) => Ok(place.clone()),
                _ => Err(format!("{name} is missing")),
            };
            json!({ "lat": of("lat")?, "long": of("long")?, "title": payload.get("title") })
        }
        "media" => {
            let media = text(payload, "mediaType")?;
            if !MEDIA.contains(&media.as_str()) {
                return Err(format!("mediaType is one of {}", MEDIA.join(", ")));
            }
            json!({
                "mediaType": media, "url": text(payload, "url")?, "title": payload.get("title"),
                // The documents write it both ways.
                "mimeType": payload.get("mimeType").or(payload.get("mimetype")),
            })
        }
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(format!(
                "{shown:?} is no type; they are text, event, location and media"
            ));
        }
    };
    let speech = format!("{kind} attachment");
    payload.entry("speech").or_insert_with(|| speech.into());
    let attachment = json!({ "type": kind, "payload": content });
    payload.insert("attachment".into(), attachment);
    Ok(())
}

/// Told once a message is kept, or answered.
pub fn taken() -> Answer {
    whole(200, &json!({ "status": "ok" }))
}

/// Told to whoever asked for a new thread.
pub fn new_thread(id: &str) -> Answer {
    whole(200, &json!({ "status": "ok", "threadId": id }))
}

/// The reply to whoever waited for it.
pub fn reply(id: CallId, message: &Message, reply: Option<Value>) -> Answer {
    let mut whole_reply = match reply {
        Some(Value::Object(reply)) => reply,
        _ => Map::new(),
    };
    let mut add = |name: &str, value: Value| {
        whole_reply.entry(name).or_insert(value);
    };
    add("messages", json!([]));
    add("threadId", Value::from(&*message.thread.id));
    add("activityId", id.to_string().into());
    add("createdAt", rfc3339(unix_ms()).into());
    add("replyTo", message.speech().into());
    for (from, to) in [
        ("originator", "user"),
        ("metadata", "metadata"),
        ("traceId", "traceId"),
    ] {
        add(to, message.body.get(from).cloned().unwrap_or_default());
    }
    whole_reply.insert("status".into(), "ok".into());
    whole(200, &Value::Object(whole_reply))
}

/// A page, and how many there are.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Under which name the entries stand: `history` or `threads`.
    pub name: &'static str,
    /// The thread that it is about, if it is about one.
    pub thread: Option<String>,
    /// What is on it.
    pub entries: Vec<Value>,
    /// Which one it is, from 1.
    pub page: usize,
    /// How many there are.
    pub pages: usize,
}

impl Pages {
    /// Its members.
    pub fn to_value(&self) -> Value {
        let mut value = json!({ "page": self.page, "pages": self.pages });
        value[self.name] = json!(self.entries);
        if let Some(thread) = &self.thread {
            value["threadId"] = thread.as_str().into();
        }
        value
    }

    /// Told to whoever asked for it.
    pub fn answer(&self) -> Answer {
        whole(200, &json!({ "status": "ok", "result": self.to_value() }))
    }
}

fn invalid(why: String) -> Fault {
    Fault::new(Kind::InvalidRequest, why)
}

#[cfg(test)]
mod tests {
    use super::super::conversation::tests::options;
    use super::*;

    fn want(verb: &str, path: &str, query: &str) -> Result<Wanted, u16> {
        let head = Head {
            verb: verb.into(),
            query: query.into(),
            ..Head::default()
        };
        wanted(&head, path).map_err(|fault| fault.status())
    }

    fn read(body: &Value) -> Result<Message, String> {
        let message = message(&options(false), "t", body.to_string().as_bytes());
        message.map_err(|fault| fault.message.into_owned())
    }

    #[test]
    fn what_is_not_there_says_so() {
        for path in [
            "handover/t",
            "pause/t",
            "trigger/events",
            "broadcast/instant",
        ] {
            assert_eq!(want("POST", path, ""), Err(501), "{path}");
        }
        for path in ["", "users", "message"] {
            assert_eq!(want("POST", path, ""), Err(404), "{path}");
        }
        assert_eq!(want("GET", "messages", ""), Err(405));
        assert_eq!(want("POST", "threads", ""), Err(405));
        for page in ["0", "-1", "x", "", "99999999999999999999"] {
            let query = format!("page={page}");
            assert_eq!(want("GET", "threads", &query), Err(400), "{page}");
        }
        assert_eq!(want("POST", "messages/%FF", ""), Err(400));
    }

    #[test]
    fn messages_are_checked_by_their_type() {
        let long = "é".repeat(256);
        for (payload, why) in [
            (json!({}), "type is missing"),
            (json!({"type": "voice"}), "is no type"),
            (json!({"type": "text"}), "speech is missing"),
            (json!({"type": "text", "speech": long}), "at most 255"),
            (
                json!({"type": "text", "speech": "a", "originator": "Jane"}),
                "originator",
            ),
            (
                json!({"type": "event", "speech": "a"}),
                "eventName is missing",
            ),
            (json!({"type": "location", "lat": "1"}), "long is missing"),
            (
                json!({"type": "media", "mediaType": "hologram", "url": "u"}),
                "mediaType",
            ),
            (
                json!({"type": "media", "mediaType": "image"}),
                "url is missing",
            ),
        ] {
            let refused = read(&json!({ "payload": payload })).expect_err(why);
            assert!(refused.contains(why), "{payload}: {refused}");
        }
        assert!(
            read(&json!({"type": "text", "speech": "a"})).is_err(),
            "no payload"
        );
        assert!(message(&options(false), "t", b"{").is_err());
    }

    #[test]
    fn every_type_becomes_what_a_socket_would_send() {
        let sent = |payload: Value| read(&json!({ "payload": payload })).unwrap().body;
        let text = sent(json!({"type": "text", "speech": "é".repeat(255), "traceId": 7}));
        assert_eq!(
            (&text["threadId"], &text["traceId"]),
            (&json!("t"), &json!(7))
        );
        let event = sent(json!({"type": "event", "eventName": "MY_EVENT"}));
        assert_eq!(
            event["attachment"],
            json!({"type": "event", "payload": {"name": "MY_EVENT"}})
        );
        assert_eq!(event["speech"], "event attachment");
        let place = sent(json!({"type": "location", "lat": "1.5", "long": 2}));
        assert_eq!(place["attachment"]["payload"]["long"], 2);
        let media = sent(json!({
            "type": "media", "mediaType": "image", "url": "https://h/", "mimetype": "image/png",
        }));
        assert_eq!(media["attachment"]["payload"]["mimeType"], "image/png");
    }

    #[test]
    fn paths_name_what_is_wanted() {
        assert_eq!(want("POST", "messages", ""), Ok(Wanted::NewThread));
        let say = |patience| Ok(Wanted::Say("a|w_b".into(), patience));
        assert_eq!(want("POST", "messages/a|w_b", ""), say(Patience::Kept));
        assert_eq!(
            want("POST", "messages/a%7Cw_b/", "sync=true"),
            say(Patience::Reply)
        );
        assert_eq!(
            want("POST", "messages/a%7Cw_b", "writeConcern=true"),
            say(Patience::Done)
        );
        let history = Wanted::History("a".into(), 3);
        assert_eq!(want("GET", "messages/a", "sync=true&page=3"), Ok(history));
        assert_eq!(want("GET", "threads", ""), Ok(Wanted::Threads(1)));
    }

    #[test]
    fn a_reply_that_was_waited_for_is_whole() {
        let message = read(&json!({"payload": {"type": "text", "speech": "hi", "traceId": 7}}));
        let message = message.unwrap();
        let told = |value| {
            let answer = reply(CallId::new(), &message, value);
            serde_json::from_slice::<Value>(&answer.body).unwrap()
        };
        let said = told(Some(
            json!({"messages": [1], "threadId": "t", "status": "odd"}),
        ));
        assert_eq!(
            (&said["status"], &said["messages"]),
            (&json!("ok"), &json!([1]))
        );
        assert_eq!(
            (&said["user"]["role"], &said["replyTo"]),
            (&json!("external"), &json!("hi"))
        );
        assert_eq!(said["traceId"], 7);
        assert_eq!(told(None)["messages"], json!([]));
    }
}

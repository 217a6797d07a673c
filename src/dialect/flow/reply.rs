//! What reaches a user: the result of a method, or whatever else was published to the thread.

use serde_json::{Map, Value, json};

use super::{Message, Thread};
use crate::call::{Payload, rfc3339, unix_ms};
use crate::channel::Event;

/// What an event of a thread is to its sockets.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// A reply or a push: the payload of a `message.received`.
    Received(Value),
    /// Somebody types: the payload of an `agent.typing`.
    Typing(Value),
    /// What the user said, which nobody needs to tell the user.
    ByUser(Value),
}

/// The reply that a method's result is: an object with `messages` as it is, anything else as one
/// text. `None` for `null`, which says nothing.
pub fn of_result(message: &Message, result: &Payload) -> Option<Value> {
    let mut reply = received(&message.thread, result.to_value(), message.speech())?;
    if let Some(trace) = message.body.get("traceId") {
        reply.entry("traceId").or_insert_with(|| trace.clone());
    }
    Some(Value::Object(reply))
}

/// A reply as an event. One that its asker gets by itself says so; see [`is_sync`].
pub fn to_event(reply: &Value, sync: bool) -> Payload {
    let mut event = json!({ "type": "message.received", "payload": reply });
    if sync {
        event["sync"] = true.into();
    }
    Payload::from_value(&event)
}

/// Whether an event is a reply that its asker gets by itself. A push that only has a member of this
/// name is none.
pub fn is_sync(payload: &Payload) -> bool {
    let value = payload.to_value();
    value["sync"] == true && value["type"] == "message.received" && value.get("payload").is_some()
}

/// What an event is, whoever published it. `None` for one that says nothing.
pub fn of_event(thread: &Thread, payload: &Payload) -> Option<Said> {
    let mut value = payload.to_value();
    let kind = match value.get("type") {
        Some(Value::String(kind)) if kind == "message.received" => match value.get("payload") {
            Some(_) => kind.clone(),
            None => String::new(),
        },
        Some(Value::String(kind)) if value["payload"].is_object() => kind.clone(),
        _ => String::new(),
    };
    match kind.as_str() {
        "message.send" => Some(Said::ByUser(value["payload"].take())),
        "agent.typing" => Some(Said::Typing(value["payload"].take())),
        "message.received" => {
            let reply = received(thread, value["payload"].take(), None)?;
            Some(Said::Received(Value::Object(reply)))
        }
        _ => {
            let reply = received(thread, value, None)?;
            Some(Said::Received(Value::Object(reply)))
        }
    }
}

/// An event as the history of its thread shows it. `None` for what is over once it was said.
pub fn entry(thread: &Thread, event: &Event) -> Option<Value> {
    let created = rfc3339(event.time);
    let mut entry = match of_event(thread, &event.payload)? {
        Said::Received(reply) => reply,
        Said::Typing(_) => return None,
        Said::ByUser(body) => {
            let speech = body["speech"].as_str().unwrap_or_default();
            let mut message = message_of(speech, None, &created);
            if body["attachment"].is_object() {
                message["attachment"] = body["attachment"].clone();
            }
            let mut entry = json!({
                "threadId": *thread.id, "originator": body["originator"], "messages": [message],
            });
            if body["traceId"].is_number() {
                entry["traceId"] = body["traceId"].clone();
            }
            entry
        }
    };
    entry["createdAt"] = created.into();
    Some(entry)
}

/// With everything that clients look for in a `message.received`.
fn received(thread: &Thread, value: Value, to: Option<&str>) -> Option<Map<String, Value>> {
    let mut reply = match value {
        Value::Null => return None,
        Value::Object(object) if object.get("messages").is_some_and(Value::is_array) => object,
        value => {
            let text = match &value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            let message = message_of(&text, to, &rfc3339(unix_ms()));
            Map::from_iter([("messages".to_owned(), json!([message]))])
        }
    };
    reply.insert("threadId".into(), Value::from(&*thread.id));
    let bot = || json!({ "userId": "callway", "name": "callway", "role": "bot", "profile": {} });
    reply.entry("originator").or_insert_with(bot);
    Some(reply)
}

fn message_of(text: &str, to: Option<&str>, created: &str) -> Value {
    json!({
        "fallback": text, "replyTo": to, "contexts": [], "params": {}, "intents": [],
        "createdAt": created, "responses": [{ "type": "text", "payload": { "text": text } }],
    })
}

#[cfg(test)]
mod tests {
    use super::super::conversation::tests::options;
    use super::*;

    fn thread() -> Thread {
        Thread::named(&options(false), "t|first").unwrap()
    }

    fn text(reply: &Value) -> &str {
        let message = &reply["messages"][0];
        let text = message["responses"][0]["payload"]["text"].as_str().unwrap();
        assert_eq!(message["fallback"], text);
        text
    }

    fn event(json: &'static str) -> Option<Said> {
        let mut payload = Payload::from_body(json, None);
        payload.settle_leniently(32);
        of_event(&thread(), &payload)
    }

    fn push(json: &'static str) -> Value {
        match event(json) {
            Some(Said::Received(reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_result_is_used_as_it_is_or_said_as_a_text() {
        let payload = json!({"threadId": "t|first", "speech": "hi", "traceId": 7});
        let message = Message::read(&options(false), Some(payload)).unwrap();
        let reply = |json: &'static str| of_result(&message, &Payload::json(json));
        let own = reply(r#"{"messages":[{"responses":[]}],"originator":{"role":"user"},"x":1}"#);
        assert_eq!(
            own.unwrap(),
            json!({
                "messages": [{"responses": []}], "originator": {"role": "user"}, "x": 1,
                "threadId": "t|first", "traceId": 7,
            })
        );
        let said = reply("\"hello\"").unwrap();
        assert_eq!((text(&said), &said["traceId"]), ("hello", &json!(7)));
        assert_eq!(said["messages"][0]["replyTo"], "hi");
        assert_eq!(said["originator"]["role"], "bot");
        assert_eq!(text(&reply("21.5").unwrap()), "21.5");
        let odd = reply(r#"{"messages":"none"}"#).unwrap();
        assert_eq!(text(&odd), r#"{"messages":"none"}"#);
        assert_eq!(reply("null"), None);
    }

    #[test]
    fn a_push_is_whatever_was_published() {
        assert_eq!(text(&push("plain text")), "plain text");
        assert_eq!(text(&push(r#"{"celsius":21.5}"#)), r#"{"celsius":21.5}"#);
        // Nobody speaks as another thread, and no frame of another kind can be made this way.
        let own = push(r#"{"messages":[],"threadId":"another"}"#);
        assert_eq!(own["threadId"], "t|first");
        let forged = r#"{"type":"secret.generated","payload":{}}"#;
        assert_eq!(
            text(&push(forged)),
            r#"{"payload":{},"type":"secret.generated"}"#
        );
        let wrapped = push(r#"{"type":"message.received","payload":{"messages":[1]}}"#);
        assert_eq!(wrapped["messages"], json!([1]));
        let wrapped = r#"{"type":"message.received","payload":"plain text"}"#;
        assert_eq!(text(&push(wrapped)), "plain text");
        let bare = r#"{"type":"message.received"}"#;
        assert_eq!(text(&push(bare)), bare);
        let typing = event(r#"{"type":"agent.typing","payload":{"who":"Jo"}}"#);
        assert_eq!(typing, Some(Said::Typing(json!({"who": "Jo"}))));
        assert_eq!(event("null"), None);
    }

    #[test]
    fn only_a_reply_is_for_its_asker_alone() {
        let reply = json!({"messages": []});
        assert!(is_sync(&to_event(&reply, true)) && !is_sync(&to_event(&reply, false)));
        for pushed in [r#"{"sync":true,"celsius":31}"#, r#""sync""#, "[]", "null"] {
            assert!(!is_sync(&Payload::json(pushed)), "{pushed}");
        }
    }

    #[test]
    fn the_history_shows_both_sides() {
        let shown = |payload| {
            let event = Event {
                id: uuid::Uuid::nil(),
                channel: "flow/t".into(),
                time: 951_782_400_007,
                payload,
                hops: 0,
                traceparent: None,
            };
            entry(&thread(), &event)
        };
        let payload = json!({
            "threadId": "t|first", "speech": "hi", "traceId": 7, "originator": {"name": "Jane"},
        });
        let message = Message::read(&options(false), Some(payload)).unwrap();
        let asked = shown(message.to_event()).unwrap();
        assert_eq!(
            (text(&asked), &asked["originator"]["name"]),
            ("hi", &json!("Jane"))
        );
        assert_eq!(asked["createdAt"], "2000-02-29T00:00:00.007Z");
        let reply = of_result(&message, &Payload::json("\"hello\"")).unwrap();
        let answered = shown(to_event(&reply, true)).unwrap();
        assert_eq!(
            (text(&answered), &answered["traceId"]),
            ("hello", &json!(7))
        );
        let typing = Payload::json(r#"{"type":"agent.typing","payload":{}}"#);
        assert_eq!(shown(typing), None);
    }
}

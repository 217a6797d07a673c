//! Conversations without a socket: what clients send, and what they are told.

use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::call::{Kind, Payload};
use crate::channel::{Event, Kept, Position, Subscribed};
use crate::config::FlowClient;
use crate::router::Pattern;

/// An endpoint with two clients.
pub(in crate::dialect::flow) fn options(nonce: bool) -> FlowOptions {
    let client = |id: &str| FlowClient {
        id: id.into(),
        token: "web".into(),
    };
    FlowOptions {
        clients: vec![client("first"), client("second")],
        channel: Pattern::parse("flow/{threadId}").unwrap(),
        call: "flow/message".into(),
        nonce,
        idle: Duration::from_secs(50),
        webhook: None,
    }
}

/// Remembers what was asked of it.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, what: String) -> Deed {
        self.0.lock().push(what);
        Deed(std::future::pending().boxed())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Desk for Seen {
    fn admit(&self, thread: &Thread, nonce: Option<&Secret>) -> Deed {
        let nonce = nonce.map_or("nothing", Secret::expose);
        self.note(format!("admit {} with {nonce}", thread.id))
    }

    fn answer(&self, message: &Arc<Message>) -> Deed {
        self.note(format!("answer {}", message.speech().unwrap_or_default()))
    }

    fn notice(&self, thread: &Thread, let_in: bool) -> Deed {
        let how = if let_in { "" } else { ", if it may" };
        self.note(format!("notice {}{how}", thread.id))
    }
}

struct Room {
    conversation: Conversation,
    seen: Seen,
    effects: Effects,
}

impl Room {
    fn new(nonce: bool, entrance: Option<Entrance>) -> Room {
        let seen = Seen::default();
        let options = Arc::new(options(nonce));
        let mut room = Room {
            conversation: Conversation::new(options, seen.clone(), entrance),
            seen,
            effects: Effects::new(),
        };
        room.conversation.opened(&mut room.effects);
        let silence = room.effects.remove(0);
        assert!(matches!(silence, Effect::Silence(most, ..) if most.as_secs() == 50));
        room
    }

    fn say(&mut self, frame: &Value) {
        let frame = Bytes::from(frame.to_string());
        self.conversation.message(frame, &mut self.effects);
    }

    fn send(&mut self, thread: &str, speech: &str) {
        let payload = json!({"threadId": thread, "speech": speech});
        self.say(&json!({"type": "message.send", "payload": payload}));
    }

    /// What the client was sent since the last look.
    fn sent(&mut self) -> Vec<Value> {
        let mut sent = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::Send(text) => {
                sent.push(serde_json::from_str(text).unwrap());
                false
            }
            _ => true,
        });
        sent
    }

    /// Carries out the one effect that waits, which comes to this.
    fn settle(&mut self, told: impl FnOnce(&Effect) -> Result<Told, Fault>) {
        assert_eq!(self.effects.len(), 1, "{:?}", self.effects);
        let effect = self.effects.remove(0);
        let ticket = match &effect {
            Effect::Do(ticket, _) | Effect::Subscribe(ticket, ..) | Effect::Publish(ticket, ..) => {
                *ticket
            }
            other => panic!("{other:?}"),
        };
        let told = told(&effect);
        self.conversation.told(ticket, told, &mut self.effects);
    }

    fn admitted(&mut self, minted: Option<&str>) {
        let minted = minted.map(Secret::new);
        self.settle(|_| Ok(Told::Flow(Done::Admitted(minted))));
    }

    fn subscribed(&mut self, channel: &str) {
        self.settle(|effect| {
            assert!(matches!(effect, Effect::Subscribe(_, to, None) if **to == *channel));
            Ok(Told::Subscribed(Subscribed {
                position: Position { epoch: 1, seq: 1 },
                recovered: false,
            }))
        });
    }

    fn published(&mut self) {
        self.settle(|effect| {
            assert!(matches!(effect, Effect::Publish(..)), "{effect:?}");
            let id = uuid::Uuid::nil();
            Ok(Told::Published(Kept {
                id,
                position: None,
                delivered: true,
            }))
        });
    }
}

fn types(frames: &[Value]) -> Vec<&str> {
    frames
        .iter()
        .filter_map(|frame| frame["type"].as_str())
        .collect()
}

#[test]
fn what_is_no_frame_is_answered_and_the_socket_lives() {
    let mut room = Room::new(false, None);
    for (frame, says) in [
        (json!("x"), "Invalid message format"),
        (json!({"payload": {}}), "Invalid message format"),
        (json!({"type": "message.send"}), "Invalid message format"),
        (
            json!({"type": "thread.noticed", "payload": {}}),
            "Invalid message format",
        ),
        (json!({"type": "log"}), "Invalid message format"),
        (
            json!({"type": "agent.typing", "payload": {}}),
            "Unknown message type \"agent.typing\"",
        ),
        (
            json!({"type": "thread.noticed", "payload": {"threadId": ""}}),
            "1 to 255 bytes",
        ),
    ] {
        room.say(&frame);
        let [said] = &room.sent()[..] else {
            panic!("one answer to {frame}")
        };
        assert_eq!(said["type"], "error");
        assert!(said["message"].as_str().unwrap().contains(says), "{said}");
        assert!(said.get("payload").is_none());
    }
    let broken = Bytes::from_static(b"{\"type\":");
    room.conversation.message(broken, &mut room.effects);
    assert!(
        room.sent()[0]["message"]
            .as_str()
            .unwrap()
            .contains("not JSON")
    );
    room.say(&json!({"type": "ping"}));
    assert_eq!(room.sent(), [json!({"type": "pong"})]);
    room.say(&json!({"type": "activity.user.typing", "payload": {"threadId": "t"}}));
    assert!(room.effects.is_empty() && room.seen.take().is_empty());
}

#[test]
fn a_message_waits_until_its_thread_is_heard() {
    let mut room = Room::new(false, None);
    room.send("t", "one");
    room.send("t", "two");
    assert_eq!(room.seen.take(), ["admit t with nothing"]);
    room.admitted(None);
    room.subscribed("flow/t");
    // Both are published, in their order; each is delivered once it is kept.
    assert_eq!(room.effects.len(), 2);
    let second = room.effects.pop().unwrap();
    room.published();
    assert_eq!(types(&room.sent()), ["message.delivered"]);
    assert_eq!(room.seen.take(), ["answer one"]);
    room.settle(|_| Err(Fault::new(Kind::ScriptError, "it threw")));
    assert_eq!(
        room.sent(),
        [json!({"type": "error", "message": "it threw"})]
    );
    room.effects.push(second);
    room.settle(|_| Err(Fault::new(Kind::Forbidden, "no grant")));
    assert_eq!(room.sent()[0]["message"], "no grant");
    assert!(
        room.seen.take().is_empty(),
        "what was not kept is not answered"
    );
}

#[test]
fn who_is_not_let_in_hears_why_and_the_next_one_has_its_turn() {
    let mut room = Room::new(false, None);
    room.send("theirs", "one");
    room.send("mine", "two");
    room.seen.take();
    room.settle(|_| Err(Fault::new(Kind::Forbidden, "another's")));
    assert_eq!(
        room.sent(),
        [json!({"type": "error", "message": "another's"})]
    );
    assert_eq!(room.seen.take(), ["admit mine with nothing"]);
    room.admitted(None);
    room.settle(|_| Err(Fault::new(Kind::MethodNotFound, "no channel")));
    assert_eq!(room.sent()[0]["message"], "no channel");
    assert!(room.effects.is_empty());
}

#[test]
fn a_secret_is_needed_in_every_message() {
    let mut room = Room::new(true, None);
    room.send("t", "first");
    room.admitted(Some("cw_new"));
    assert_eq!(
        room.sent(),
        [json!({"type": "secret.generated", "message": {"secret": "cw_new"}})]
    );
    room.subscribed("flow/t");
    room.published();
    room.effects.clear();
    assert_eq!(room.seen.take(), ["admit t with nothing", "answer first"]);
    room.sent();
    // Without it, and with another one, it is asked again whether it may.
    for (nonce, shown) in [(json!(null), "nothing"), (json!("cw_old"), "cw_old")] {
        let payload = json!({"threadId": "t", "speech": "x", "nonce": nonce});
        room.say(&json!({"type": "message.send", "payload": payload}));
        assert_eq!(room.seen.take(), [format!("admit t with {shown}")]);
        room.settle(|_| Err(Fault::new(Kind::Unauthenticated, "Invalid nonce")));
        assert_eq!(types(&room.sent()), ["error"]);
    }
    let payload = json!({"threadId": "t", "speech": "x", "nonce": "cw_new"});
    room.say(&json!({"type": "message.send", "payload": payload}));
    assert!(room.seen.take().is_empty(), "it is known to be right");
    room.published();
    let delivered = room.sent();
    assert!(!format!("{delivered:?}").contains("cw_new"));
}

#[test]
fn a_thread_that_was_named_before_is_heard_from_the_start() {
    let thread = Thread::named(&options(true), "t").unwrap();
    let entrance = Entrance {
        thread,
        proof: Some(digest("cw_right")),
    };
    let mut room = Room::new(true, Some(entrance));
    for thread in ["t", "other"] {
        let payload = json!({"threadId": thread});
        room.say(&json!({"type": "thread.noticed", "payload": payload}));
    }
    assert_eq!(room.seen.take(), ["notice t", "notice other, if it may"]);
    room.effects.truncate(1);
    room.send("t", "early");
    assert!(room.seen.take().is_empty());
    room.subscribed("flow/t");
    assert_eq!(
        room.seen.take(),
        ["admit t with nothing"],
        "it lacks the secret"
    );
    room.settle(|_| Err(Fault::new(Kind::Unauthenticated, "Invalid nonce")));
    room.sent();
    room.say(&json!({"type": "thread.noticed", "payload": {"threadId": "t"}}));
    assert_eq!(room.seen.take(), ["notice t"]);
}

#[test]
fn what_is_published_is_received_but_not_what_the_user_said() {
    let mut room = Room::new(false, None);
    let mut event = |payload: Payload| {
        let event = Event {
            id: uuid::Uuid::nil(),
            channel: "flow/t%7Cfirst".into(),
            time: 0,
            payload,
            hops: 0,
            traceparent: None,
        };
        let placed = Placed::new(event, Position { epoch: 1, seq: 1 });
        room.conversation.event(&placed, &mut room.effects);
        room.sent()
    };
    let pushed = event(Payload::text("21.5 °C"));
    assert_eq!(pushed[0]["type"], "message.received");
    assert_eq!(pushed[0]["payload"]["threadId"], "t|first");
    let typing = event(Payload::json(
        r#"{"type":"agent.typing","payload":{"a":1}}"#,
    ));
    assert_eq!(
        typing,
        [json!({"type": "agent.typing", "payload": {"a": 1}})]
    );
    let payload = Some(json!({"threadId": "t|first", "speech": "hi"}));
    let own = Message::read(&options(false), payload).unwrap();
    assert!(event(own.to_event()).is_empty());
}

#[test]
fn a_reply_that_found_no_place_in_the_thread_reaches_its_asker() {
    let mut room = Room::new(false, None);
    room.send("t", "one");
    room.admitted(None);
    room.subscribed("flow/t");
    room.published();
    room.sent();
    let reply = json!({"messages": []});
    room.settle(|_| Ok(Told::Flow(Done::Answered(Some(reply)))));
    assert_eq!(types(&room.sent()), ["message.received"]);
}

#[test]
fn a_flood_is_refused_and_threads_are_bounded() {
    let mut room = Room::new(false, None);
    for _ in 0..=UNANSWERED {
        room.send("t", "x");
    }
    let refused = room.sent();
    assert_eq!(refused.len(), 1);
    assert!(refused[0]["message"].as_str().unwrap().contains("Too many"));

    let mut room = Room::new(false, None);
    for number in 0..=THREADS {
        room.send(&number.to_string(), "x");
        room.admitted(None);
        if number < THREADS {
            room.subscribed(&format!("flow/{number}"));
            room.published();
            room.sent();
            room.settle(|_| Ok(Told::Flow(Done::Answered(None))));
        }
    }
    let refused = room.sent();
    assert!(
        refused[0]["message"]
            .as_str()
            .unwrap()
            .contains("threads already")
    );
}

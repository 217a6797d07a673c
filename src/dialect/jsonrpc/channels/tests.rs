//! Channels in a conversation, with plain strings in and effects out.

use serde_json::{Value, json};

use super::*;
use crate::auth::{Caller, Grants, Token, digest};
use crate::call::Kind;
use crate::channel::{Event, Kept, Past, Placed, Subscribed};
use crate::config::Limits;
use crate::dialect::{Effects, Session as _};
use crate::router::Pattern;

/// May publish to and subscribe `t/{x}`.
fn conversation() -> Conversation {
    let patterns = || vec![Pattern::parse("t/{x}").unwrap()];
    let token = Token {
        name: "tester".into(),
        digest: digest("t"),
        grants: Grants {
            publish: patterns(),
            subscribe: patterns(),
            ..Grants::default()
        },
        admin: false,
    };
    Conversation::new(Caller::new(std::sync::Arc::new(token)), &Limits::default())
}

fn hear(conversation: &mut Conversation, name: &str, params: Value) -> Effects {
    let request =
        json!({"jsonrpc": "2.0", "id": 1, "method": format!("callway.{name}"), "params": params});
    let mut effects = Effects::new();
    conversation.message(Bytes::from(request.to_string()), &mut effects);
    effects
}

fn said(effects: &Effects) -> Value {
    match &effects[..] {
        [Effect::Send(text)] => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn event() -> Placed {
    let event = Event {
        id: uuid::Uuid::nil(),
        channel: "t/1".into(),
        time: 1_700_000_000_123,
        payload: Payload::json("22.50"),
        hops: 0,
        traceparent: None,
    };
    Placed::new(event, Position { epoch: 10, seq: 3 })
}

#[test]
fn what_no_grant_names_is_forbidden_before_anything_else() {
    for (name, params, kind) in [
        ("publish", json!({"channel": "t/1"}), "invalid_params"),
        (
            "publish",
            json!({"channel": 5, "payload": 1}),
            "invalid_params",
        ),
        (
            "subscribe",
            json!({"channel": "x", "since": "?"}),
            "forbidden",
        ),
        (
            "subscribe",
            json!({"channel": "t/1", "since": "?"}),
            "invalid_params",
        ),
        (
            "history",
            json!({"channel": "x", "since": "?"}),
            "forbidden",
        ),
        (
            "history",
            json!({"channel": "t/1", "count": -1}),
            "invalid_params",
        ),
        ("unsubscribe", json!({}), "invalid_params"),
    ] {
        let effects = hear(&mut conversation(), name, params.clone());
        let kind_said = said(&effects)["error"]["data"]["kind"].take();
        assert_eq!(kind_said, kind, "{name} {params}");
    }
    let broken = r#"{"jsonrpc":"2.0","id":1,"method":"callway.publish","params":{"channel":"t/1","payload":"\ud800"}}"#;
    let mut effects = Effects::new();
    conversation().message(Bytes::from(broken), &mut effects);
    assert_eq!(said(&effects)["error"]["data"]["kind"], "parse_error");
}

#[test]
fn what_is_asked_is_answered_when_it_is_done() {
    let mut talk = conversation();
    let effects = hear(
        &mut talk,
        "publish",
        json!({"channel": "t/1", "payload": null}),
    );
    let [Effect::Publish(ticket, channel, payload)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((&**channel, payload.as_json().as_ref()), ("t/1", "null"));
    let mut answer = |ticket: Ticket, told| {
        let mut effects = Effects::new();
        talk.told(ticket, told, &mut effects);
        said(&effects)
    };
    let position = Some(Position { epoch: 10, seq: 3 });
    let kept = Kept {
        id: uuid::Uuid::nil(),
        position,
        delivered: true,
    };
    let id = "00000000-0000-0000-0000-000000000000";
    let published = answer(*ticket, Ok(Told::Published(kept)));
    assert_eq!(published["result"], json!({"id": id, "position": "a:3"}));

    let params = json!({"channel": "t/1", "since": "a:2"});
    let effects = hear(&mut talk, "subscribe", params);
    let [Effect::Subscribe(ticket, _, Some(since))] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(since.seq, 2);
    let subscribed = Subscribed {
        position: Position { epoch: 10, seq: 3 },
        recovered: true,
    };
    let mut effects = Effects::new();
    talk.told(*ticket, Ok(Told::Subscribed(subscribed)), &mut effects);
    let result = said(&effects)["result"].take();
    assert_eq!(result, json!({"position": "a:3", "recovered": true}));

    effects.clear();
    talk.event(&event(), &mut effects);
    let shown = json!({
        "channel": "t/1", "id": id, "position": "a:3",
        "time": "2023-11-14T22:13:20.123Z", "payload": 22.50,
    });
    let said = said(&effects);
    assert_eq!(said["method"], "callway.event");
    assert_eq!(said["params"], shown);

    let effects = hear(&mut talk, "history", json!({"channel": "t/1", "count": 2}));
    let [Effect::Look(ticket, query)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((query.count, query.since), (Some(2), None));
    let past = Past {
        events: vec![event()],
        position: Position { epoch: 10, seq: 3 },
        last: None,
    };
    let mut effects = Effects::new();
    talk.told(*ticket, Ok(Told::Past(past)), &mut effects);
    let past = self::said(&effects)["result"].take();
    assert_eq!(past, json!({"events": [shown], "position": "a:3"}));
}

#[test]
fn a_notification_publishes_and_a_batch_waits_for_all() {
    let mut talk = conversation();
    let mut effects = Effects::new();
    let one = |id: &str| {
        format!(r#"{{"jsonrpc":"2.0",{id}"method":"callway.publish","params":["t/1",[7]]}}"#)
    };
    let batch = format!("[{},{},{}]", one("\"id\":1,"), one(""), one("\"id\":2,"));
    talk.message(Bytes::from(batch), &mut effects);
    let tickets: Vec<_> = effects
        .drain(..)
        .map(|effect| match effect {
            Effect::Publish(ticket, ..) => ticket,
            other => panic!("{other:?}"),
        })
        .collect();
    let full = || Err(Fault::unavailable("storage_full", "no room"));
    talk.told(tickets[1], full(), &mut effects);
    talk.told(tickets[2], full(), &mut effects);
    assert!(effects.is_empty());
    talk.told(tickets[0], full(), &mut effects);
    let answers = said(&effects);
    assert_eq!(answers[0]["id"], 2);
    assert_eq!(
        answers[1]["error"]["data"]["detail"]["reason"],
        "storage_full"
    );
    let cancel = hear(&mut talk, "cancel", json!({"id": 1}));
    assert_eq!(said(&cancel)["result"]["cancelled"], false);
    let kind = Kind::Unavailable;
    assert_eq!(answers[0]["error"]["code"], kind.jsonrpc_code());
}

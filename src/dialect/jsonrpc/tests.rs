//! The conversation with plain strings in and effects out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Conversation;
use crate::auth::{Caller, Grants, Token, digest};
use crate::call::{Call, CallId, Deadline, Fault, Kind, Payload, Reply, Via};
use crate::config::Limits;
use crate::dialect::{Effect, Effects, Request, Session as _, Ticket};
use crate::router::Pattern;
use crate::target::{Ask, WorkerAnswer};

/// A conversation whose caller may serve `jobs/{x...}`.
struct Talk {
    conversation: Conversation,
    effects: Effects,
}

impl Talk {
    fn new() -> Talk {
        let grants = Grants {
            serve: vec![Pattern::parse("jobs/{x...}").unwrap()],
            ..Grants::default()
        };
        let token = Token {
            name: "tester".into(),
            digest: digest("t"),
            grants,
            admin: false,
        };
        let limits = Limits {
            batch: 4,
            ..Limits::default()
        };
        Talk {
            conversation: Conversation::new(Caller::new(Arc::new(token)), &limits),
            effects: Effects::new(),
        }
    }

    fn hear(&mut self, message: &str) {
        let message = Bytes::copy_from_slice(message.as_bytes());
        self.conversation.message(message, &mut self.effects);
    }

    /// What was to be sent, parsed.
    fn said(&mut self) -> Vec<Value> {
        let effects = self.effects.drain(..);
        let texts = effects.filter_map(|effect| match effect {
            Effect::Send(text) => Some(serde_json::from_str(&text).unwrap()),
            _ => None,
        });
        texts.collect()
    }

    /// The calls that were to be made.
    fn calls(&mut self) -> Vec<(Ticket, Request)> {
        let effects = self.effects.drain(..);
        let calls = effects.filter_map(|effect| match effect {
            Effect::Call(ticket, request) => Some((ticket, request)),
            _ => None,
        });
        calls.collect()
    }

    fn done(&mut self, ticket: Ticket, result: &'static str) {
        let outcome = Ok(Reply::new(Payload::json(result)));
        self.conversation
            .outcome(ticket, outcome, &mut self.effects);
    }
}

fn request(id: u32, method: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#)
}

#[test]
fn a_call_and_its_answer_are_passed_through() {
    let mut talk = Talk::new();
    talk.hear(r#"{"jsonrpc":"2.0","id":"é","method":"a/b","params":{"x": 1.0},"timeout":"2s"}"#);
    let (ticket, request) = talk.calls().remove(0);
    assert_eq!(&*request.method, "a/b");
    assert_eq!(request.params.bytes(), r#"{"x": 1.0}"#);
    assert_eq!(request.timeout, Some(Duration::from_secs(2)));
    talk.done(ticket, "1.50");
    match &talk.effects[..] {
        [Effect::Send(text)] => {
            assert_eq!(text, r#"{"jsonrpc":"2.0","id":"é","result":1.50}"#);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_notification_is_carried_out_and_never_answered() {
    let mut talk = Talk::new();
    talk.hear(r#"{"jsonrpc":"2.0","method":"a"}"#);
    let (ticket, _) = talk.calls().remove(0);
    let failed = Err(Fault::new(Kind::MethodNotFound, "no"));
    talk.conversation.outcome(ticket, failed, &mut talk.effects);
    talk.hear(r#"{"jsonrpc":"2.0","method":"callway.nothing"}"#);
    assert!(talk.effects.is_empty());
}

#[test]
fn what_cannot_be_read_is_answered_without_an_id() {
    let mut talk = Talk::new();
    for (message, kind) in [
        (&b"\xff"[..], "parse_error"),
        (b"[1,", "parse_error"),
        (b"[]", "invalid_request"),
        (b"null", "invalid_request"),
    ] {
        let message = Bytes::from_static(message);
        talk.conversation.message(message, &mut talk.effects);
        let answer = talk.said().remove(0);
        assert_eq!(answer["id"], Value::Null);
        assert_eq!(answer["error"]["data"]["kind"], kind);
    }
}

#[test]
fn a_batch_is_answered_when_its_last_call_is_done() {
    let mut talk = Talk::new();
    let note = r#"{"jsonrpc":"2.0","method":"n"}"#;
    talk.hear(&format!(
        "[{},{note},{}, 7]",
        request(1, "a"),
        request(2, "b")
    ));
    let tickets: Vec<_> = talk.calls().iter().map(|(ticket, _)| *ticket).collect();
    talk.done(tickets[2], "\"two\"");
    talk.done(tickets[1], "\"nobody asked\"");
    assert!(talk.said().is_empty());
    talk.done(tickets[0], "\"one\"");
    let answers = talk.said().remove(0);
    let ids: Vec<_> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, [&json!(null), &json!(2), &json!(1)]);
}

#[test]
fn a_batch_of_too_many_is_refused_whole() {
    let mut talk = Talk::new();
    let one = request(1, "a");
    talk.hear(&format!("[{one},{one},{one},{one},{one}]"));
    assert!(matches!(talk.effects[0], Effect::Limit("batch")));
    assert_eq!(talk.said()[0]["error"]["data"]["kind"], "too_large");
}

#[test]
fn cancelling_means_the_later_of_two_with_the_same_id() {
    let mut talk = Talk::new();
    talk.hear(&request(5, "a"));
    talk.hear(&request(5, "b"));
    let calls = talk.calls();
    let cancel = r#"{"jsonrpc":"2.0","id":6,"method":"callway.cancel","params":{"id": 5 }}"#;
    talk.hear(cancel);
    assert!(matches!(talk.effects[0], Effect::Cancel(ticket) if ticket == calls[1].0));
    let said = talk.said();
    assert_eq!(said[0]["error"]["data"]["kind"], "cancelled");
    assert_eq!((&said[0]["id"], &said[1]["id"]), (&json!(5), &json!(6)));
    talk.done(calls[0].0, "1");
    assert_eq!(talk.said(), [json!({"jsonrpc":"2.0","id":5,"result":1})]);
    talk.hear(cancel);
    assert_eq!(talk.said()[0]["result"], json!({"cancelled": false}));
}

#[test]
fn a_worker_is_asked_and_answers() {
    let mut talk = Talk::new();
    let call = Call {
        id: CallId::new(),
        method: "jobs/x".into(),
        params: Payload::json("5"),
        caller: talk.conversation.caller.clone(),
        via: Via::Http,
        deadline: Deadline::after(Duration::from_secs(60)),
        hops: 0,
        traceparent: None,
        key: None,
        http: None,
        progress: None,
    };
    let (ask, _answer) = Ask::of(&call);
    talk.conversation.ask(7, &ask, &mut talk.effects);
    let mut asked = talk.said().remove(0);
    let left = asked["timeout"].take();
    assert!(left.as_str().unwrap().ends_with("ms"));
    assert_eq!(
        asked,
        json!({"jsonrpc":"2.0","id":7,"method":"jobs/x","params":[5],"timeout":null,
               "call_id": call.id.to_string()})
    );
    talk.conversation.ask_cancelled(7, &mut talk.effects);
    assert_eq!(
        talk.said(),
        [json!({"jsonrpc":"2.0","method":"callway.cancel","params":{"id":7}})]
    );
    let answer = |talk: &mut Talk, id: &str, body: &str| {
        talk.hear(&format!(r#"{{"jsonrpc":"2.0","id":{id},{body}}}"#));
        match talk.effects.remove(0) {
            Effect::Answer(number, answer) => (number, answer),
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(
        answer(&mut talk, "7", r#""result":{}"#),
        (7, WorkerAnswer::Result(_))
    ));
    assert!(matches!(
        answer(&mut talk, "7", r#""error":{"code":-32601}"#),
        (7, WorkerAnswer::Declined(Kind::MethodNotFound))
    ));
    assert!(matches!(
        answer(&mut talk, "7", r#""error":"odd""#),
        (7, WorkerAnswer::Error(_))
    ));
    let (number, _) = answer(&mut talk, r#""not a number""#, r#""result":1"#);
    assert_eq!(number, 0, "nobody's");
}

#[test]
fn an_offer_is_checked_against_every_name_that_it_covers() {
    let mut talk = Talk::new();
    let mut serve = |params: &str| {
        talk.hear(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"callway.serve","params":{params}}}"#
        ));
        let offered = talk
            .effects
            .iter()
            .any(|one| matches!(one, Effect::Serve { .. }));
        (
            offered,
            talk.said().remove(0)["error"]["data"]["kind"].take(),
        )
    };
    assert_eq!(serve(r#"{"methods":["jobs/{a}"]}"#), (true, json!(null)));
    assert_eq!(
        serve(r#"{"methods":["jobs/a","{x...}"]}"#),
        (false, json!("forbidden"))
    );
    assert_eq!(
        serve(r#"{"methods":["jobs/+"]}"#),
        (false, json!("invalid_params"))
    );
    assert_eq!(serve("[]"), (false, json!("invalid_params")));
}

#[test]
fn news_carry_the_id_of_the_request_that_they_are_about() {
    let mut talk = Talk::new();
    talk.hear(&request(3, "a"));
    let (ticket, _) = talk.calls().remove(0);
    let news = RawValue::from_string("{\"p\":1}".into()).unwrap();
    talk.conversation.progress(ticket, &news, &mut talk.effects);
    assert_eq!(talk.said()[0]["params"], json!({"id": 3, "data": {"p": 1}}));
    talk.done(ticket, "0");
    talk.effects.clear();
    talk.conversation.progress(ticket, &news, &mut talk.effects);
    assert!(talk.effects.is_empty(), "after the answer there is no more");
}

proptest::proptest! {
    /// No text is too odd: one message leads to one effect at most, bad JSON to a parse error.
    #[test]
    fn any_text_is_taken(
        text in r#"(\[|\{|\]|\}|,|:|"(jsonrpc|2\.0|id|method|params|a|result|error|callway\.cancel)"|1|null|\\u|x){0,24}"#,
    ) {
        let mut talk = Talk::new();
        talk.hear(&text);
        let is_batch = text.starts_with('[');
        proptest::prop_assert!(is_batch || talk.effects.len() <= 1, "{:?}", talk.effects);
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        if !is_json {
            let said = talk.said();
            proptest::prop_assert_eq!(&said[0]["error"]["data"]["kind"], "parse_error");
        }
    }
}

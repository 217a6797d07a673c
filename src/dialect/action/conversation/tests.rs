//! Conversations in plain texts: what is asked, in which order, and what is said.

use serde_json::{Value, json};

use super::*;
use crate::auth::{Caller, Secret};
use crate::call::{Fault, Kind, Payload, Reply};
use crate::dialect::action::Profile;
use crate::router::{Pattern, Template};

fn conversation(answer_unknown: bool) -> Conversation {
    let methods = "game/{action}";
    let options = ActionOptions {
        methods: Template::parse(methods).unwrap(),
        grant: Pattern::parse(methods).unwrap(),
        api_key: None,
        token_idle: std::time::Duration::from_secs(60),
        token_lifetime: std::time::Duration::from_secs(60),
        answer_unknown,
        account: false,
    };
    Conversation::new(Arc::new(options), &Limits::default())
}

fn say(conversation: &mut Conversation, text: &str) -> Effects {
    let mut effects = Effects::new();
    conversation.message(Bytes::from(text.to_owned()), &mut effects);
    effects
}

fn answer(
    conversation: &mut Conversation,
    ticket: Ticket,
    answered: Result<Answer, Refusal>,
) -> Effects {
    let mut effects = Effects::new();
    conversation.answered(ticket, answered, &mut effects);
    effects
}

fn end(conversation: &mut Conversation, ticket: Ticket, outcome: Outcome) -> Effects {
    let mut effects = Effects::new();
    conversation.outcome(ticket, outcome, &mut effects);
    effects
}

fn sent(effects: &Effects) -> Vec<Value> {
    let texts = effects.iter().filter_map(|effect| match effect {
        Effect::Send(text) => Some(serde_json::from_str(text).unwrap()),
        _ => None,
    });
    texts.collect()
}

/// The tickets of the questions.
fn questions(effects: &Effects) -> Vec<Ticket> {
    let tickets = effects.iter().filter_map(|effect| match effect {
        Effect::Account(ticket, _) => Some(*ticket),
        _ => None,
    });
    tickets.collect()
}

/// The only effect, which must be a call: its ticket, method and params.
fn call(effects: &Effects) -> (Ticket, String, String) {
    match &effects[..] {
        [Effect::CallAs(ticket, _, request)] => (
            *ticket,
            request.method.to_string(),
            request.params.as_json().into_owned(),
        ),
        other => panic!("{other:?}"),
    }
}

fn somebody() -> Result<Answer, Refusal> {
    Ok(Answer::Caller(Caller::nobody(), None))
}

fn result(text: &str) -> Outcome {
    Ok(Reply::new(Payload::text(text.to_owned())))
}

#[test]
fn a_decision_asks_who_and_then_calls() {
    let mut conversation = conversation(false);
    for action in ["TakeDecision", "MakeDecision"] {
        let message = format!(r#"{{"action":"{action}","token":"t","message":"hi"}}"#);
        let effects = say(&mut conversation, &message);
        let [
            Effect::Account(
                ticket,
                Question::Admit {
                    token,
                    method,
                    needs_route,
                },
            ),
        ] = &effects[..]
        else {
            panic!("{effects:?}");
        };
        assert_eq!(token.as_ref().map(Secret::expose), Some("t"));
        assert_eq!((&**method, *needs_route), ("game/TakeDecision", false));
        let called = answer(&mut conversation, *ticket, somebody());
        assert_eq!(called.len(), 1);
        let [Effect::CallAs(ticket, _, request)] = &called[..] else {
            panic!("{called:?}");
        };
        assert_eq!(&*request.method, "game/TakeDecision");
        let params = format!(r#"{{"action":"{action}","message":"hi"}}"#);
        assert_eq!(request.params.bytes(), params.as_bytes());
        assert_eq!(
            sent(&end(&mut conversation, *ticket, result("yes"))),
            [json!({
                "status": "success", "route": "MakeDecision", "message": "yes",
                "data": {"message": "yes", "status": 200},
            })]
        );
    }
}

#[test]
fn a_responder_may_be_told_whose_decision_it_is_and_nobody_can_forge_that() {
    let mut conversation = conversation(false);
    Arc::get_mut(&mut conversation.options).unwrap().account = true;
    for (message, params) in [
        (
            r#"{"action":"Dance","token":"t","ACCOUNT":{"name":"ann"}}"#,
            json!({"action": "Dance", "account": {"name": "tom", "prompt": "\"be\" short"}}),
        ),
        (
            r#"{"action":"Dance","steps":[1],"token":"t"}"#,
            json!({
                "action": "Dance", "steps": [1],
                "account": {"name": "tom", "prompt": "\"be\" short"},
            }),
        ),
    ] {
        let ticket = questions(&say(&mut conversation, message))[0];
        let profile = Profile {
            name: "tom".into(),
            prompt: "\"be\" short".into(),
        };
        let known = Ok(Answer::Caller(Caller::nobody(), Some(profile)));
        let effects = answer(&mut conversation, ticket, known);
        let [Effect::CallAs(_, _, request)] = &effects[..] else {
            panic!("{effects:?}");
        };
        let travels: Value = serde_json::from_slice(request.params.bytes()).unwrap();
        assert_eq!(travels, params);
        assert_eq!(
            request
                .params
                .bytes()
                .windows(9)
                .filter(|part| part.eq_ignore_ascii_case(b"\"account\""))
                .count(),
            1
        );
    }
}

#[test]
fn what_the_accounts_refuse_has_its_words() {
    let register = r#"{"action":"Register","API_KEY":"k","checksum":"c","name":"n","prompt":"p"}"#;
    let connect = r#"{"action":"Connection","checksum":"c"}"#;
    let disconnect = r#"{"action":"Disconnect","token":"t"}"#;
    let decide = r#"{"action":"TakeDecision","token":"t","message":"m"}"#;
    let full = || Fault::unavailable("storage_full", "the disk is full");
    for (message, refusal, route, words) in [
        (register, Refusal::ApiKey, "Register", "Invalid API Key"),
        (
            register,
            Refusal::Taken,
            "Register",
            "Error saving in database",
        ),
        (
            register,
            Refusal::Full,
            "Register",
            "Error saving in database",
        ),
        (
            register,
            Refusal::Failed(full()),
            "Register",
            "Error saving in database",
        ),
        (
            register,
            Refusal::Generate(full()),
            "Register",
            "Unable to generate Token",
        ),
        (
            connect,
            Refusal::Unknown,
            "Connection",
            "Account doesn't exist",
        ),
        (
            connect,
            Refusal::Failed(full()),
            "Connection",
            "Error searching in database",
        ),
        (
            connect,
            Refusal::Generate(full()),
            "Connection",
            "Error generating token",
        ),
        (
            disconnect,
            Refusal::NoToken,
            "Connection",
            "No token in request body",
        ),
        (disconnect, Refusal::Token, "Connection", "Invalid Token"),
        (
            disconnect,
            Refusal::Failed(full()),
            "Disconnect",
            "Failed to disconnect",
        ),
        (decide, Refusal::Token, "Connection", "Invalid Token"),
    ] {
        let mut conversation = conversation(false);
        let ticket = questions(&say(&mut conversation, message))[0];
        let said = sent(&answer(&mut conversation, ticket, Err(refusal)));
        let expected = json!({"status": "error", "route": route, "message": words});
        assert_eq!(said, [expected], "{message}");
    }
}

#[test]
fn a_failed_decision_says_so_and_what_else_fails_says_why() {
    let mut conversation = conversation(false);
    for (action, kind, route, words) in [
        (
            "TakeDecision",
            Kind::Timeout,
            "MakeDecision",
            "Error while calling MakeDecision service",
        ),
        (
            "TakeDecision",
            Kind::MethodNotFound,
            "MakeDecision",
            "Error while calling MakeDecision service",
        ),
        (
            "TakeDecision",
            Kind::ParseError,
            "root",
            "Error while decoding JSON message",
        ),
        ("Dance", Kind::ScriptError, "Dance", "why"),
    ] {
        let message = format!(r#"{{"action":"{action}","token":"t","message":"hi"}}"#);
        let ticket = questions(&say(&mut conversation, &message))[0];
        let (ticket, ..) = call(&answer(&mut conversation, ticket, somebody()));
        let outcome = Err(Fault::new(kind, "why"));
        let said = sent(&end(&mut conversation, ticket, outcome));
        let expected = json!({"status": "error", "route": route, "message": words});
        assert_eq!(said, [expected]);
    }
}

#[test]
fn silence_keeps_its_place() {
    for answer_unknown in [false, true] {
        let mut conversation = conversation(answer_unknown);
        let slow = say(&mut conversation, r#"{"action":"Slow","token":"t"}"#);
        let unknown = say(&mut conversation, r#"{"action":"Dance"}"#);
        assert!(say(&mut conversation, "{").is_empty(), "in its turn");
        let refused = answer(
            &mut conversation,
            questions(&unknown)[0],
            Err(Refusal::NoRoute),
        );
        assert!(refused.is_empty());
        let (ticket, ..) = call(&answer(&mut conversation, questions(&slow)[0], somebody()));
        let said = sent(&end(&mut conversation, ticket, result("done")));
        let routes: Vec<_> = said
            .iter()
            .map(|said| said["route"].as_str().unwrap())
            .collect();
        match answer_unknown {
            false => assert_eq!(routes, ["Slow", "root"]),
            true => assert_eq!(routes, ["Slow", "Dance", "root"]),
        }
        assert!(conversation.asked.is_empty(), "nothing is left behind");
    }
}

#[test]
fn calls_run_side_by_side_and_what_changes_an_account_stands_between_them() {
    let mut conversation = conversation(false);
    let decide = r#"{"action":"TakeDecision","token":"t","message":"m"}"#;
    let one = questions(&say(&mut conversation, decide))[0];
    let two = questions(&say(&mut conversation, decide))[0];
    let leave = r#"{"action":"Disconnect","token":"t"}"#;
    assert!(
        say(&mut conversation, leave).is_empty(),
        "two are before it"
    );
    assert!(say(&mut conversation, decide).is_empty());

    let (second, ..) = call(&answer(&mut conversation, two, somebody()));
    let (first, ..) = call(&answer(&mut conversation, one, somebody()));
    assert!(end(&mut conversation, second, result("2")).is_empty());
    let effects = end(&mut conversation, first, result("1"));
    let said = sent(&effects);
    assert_eq!(
        (&said[0]["message"], &said[1]["message"]),
        (&json!("1"), &json!("2"))
    );
    let leaving = questions(&effects);
    assert_eq!(leaving.len(), 1, "the decision behind it waits");

    let effects = answer(&mut conversation, leaving[0], Ok(Answer::Disconnected));
    assert_eq!(sent(&effects)[0]["message"], "Disconnected");
    let late = questions(&effects)[0];
    let said = sent(&answer(&mut conversation, late, Err(Refusal::Token)));
    assert_eq!(said[0]["message"], "Invalid Token");
    assert!(
        end(&mut conversation, first, result("1")).is_empty(),
        "told once"
    );
}

#[test]
fn nonsense_behind_a_slow_call_is_bounded() {
    let mut conversation = conversation(false);
    say(&mut conversation, r#"{"action":"Slow","token":"t"}"#);
    let closed = (0..=WAITING).any(|_| {
        let effects = say(&mut conversation, "{");
        let is_end = |effect: &Effect| matches!(effect, Effect::Close(CloseCode::TooSlow, _));
        effects.iter().any(is_end)
    });
    assert!(closed);
}

#[test]
fn answers_that_wait_for_an_earlier_one_count_as_unanswered() {
    let mut conversation = conversation(false);
    let most = Limits::default().in_flight_per_connection;
    let decide = r#"{"action":"TakeDecision","token":"t","message":"m"}"#;
    say(&mut conversation, decide);
    for _ in 1..most {
        let ticket = questions(&say(&mut conversation, decide))[0];
        let (ticket, ..) = call(&answer(&mut conversation, ticket, somebody()));
        assert!(end(&mut conversation, ticket, result("done")).is_empty());
    }
    let effects = say(&mut conversation, decide);
    let limit = [Effect::Limit("in_flight_per_connection")];
    assert_eq!(format!("{effects:?}"), format!("{limit:?}"));
}

#[test]
fn a_name_that_no_method_can_have_is_not_repeated() {
    let message = json!({"action": "x".repeat(10_000), "token": "t"}).to_string();
    let effects = say(&mut conversation(true), &message);
    let unknown = json!({"status": "error", "route": "root", "message": "Unknown action"});
    assert_eq!(sent(&effects), [unknown]);
    assert!(say(&mut conversation(false), &message).is_empty());
}

#[test]
fn no_secret_shows_itself() {
    let message =
        r#"{"action":"Register","API_KEY":"s3cret","checksum":"s3cret","name":"n","prompt":"p"}"#;
    let mut conversation = conversation(false);
    let effects = say(&mut conversation, message);
    assert!(!format!("{effects:?}").contains("s3cret"));
    let said = Said::token("Register", Secret::new("s3cret"));
    assert!(!format!("{said:?}").contains("s3cret"));
}

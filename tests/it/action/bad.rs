//! What clients do wrong, and what they are told.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{KEY, ask, connect, decided, decision, error, register, setup};
use crate::support::Ws;

const NOT_JSON: &str = "Error while decoding JSON message";
const MISSING: &str = "Missing required fields in the JSON message";

/// Each message, and the route and message of its error.
const MISTAKES: [(&str, &str, &str); 27] = [
    ("", "root", NOT_JSON),
    ("hello", "root", NOT_JSON),
    ("{", "root", NOT_JSON),
    ("[]", "root", NOT_JSON),
    (r#"["Register"]"#, "root", NOT_JSON),
    ("7", "root", NOT_JSON),
    (r#"{"action":7}"#, "root", NOT_JSON),
    (r#"{"action":["Register"]}"#, "root", NOT_JSON),
    (r#"{"action":"Disconnect","token":7}"#, "root", NOT_JSON),
    (r#"{"action":"Connection","checksum":{}}"#, "root", NOT_JSON),
    // As the reference has it: a comma is missing.
    (
        r#"{ "action": "Register", "API_KEY": "API_KEY1234" "checksum": "azerty", "name": "tom", "prompt": "juste le boss" }"#,
        "root",
        NOT_JSON,
    ),
    ("null", "root", MISSING),
    ("{}", "root", MISSING),
    (r#"{"action":""}"#, "root", MISSING),
    (r#"{"action":null,"token":"x"}"#, "root", MISSING),
    (r#"{"action":"Register"}"#, "Register", MISSING),
    (
        r#"{"action":"Register","API_KEY":"API_KEY1234","checksum":"c","name":"n"}"#,
        "Register",
        MISSING,
    ),
    (
        r#"{"action":"Register","API_KEY":"API_KEY1234","checksum":"c","name":"","prompt":"p"}"#,
        "Register",
        MISSING,
    ),
    // The older test script has no key.
    (
        r#"{"action":"Register","checksum":"c","name":"n","prompt":"p"}"#,
        "Register",
        MISSING,
    ),
    (
        r#"{"action":"Register","API_KEY":"wrong","checksum":"c","name":"n","prompt":"p"}"#,
        "Register",
        "Invalid API Key",
    ),
    (r#"{"action":"Connection"}"#, "Connection", MISSING),
    (
        r#"{"action":"Connection","checksum":"nobody's"}"#,
        "Connection",
        "Account doesn't exist",
    ),
    (
        r#"{"action":"TakeDecision","message":"hi"}"#,
        "Connection",
        "No token in request body",
    ),
    (
        r#"{"action":"TakeDecision","token":"","message":"hi"}"#,
        "Connection",
        "No token in request body",
    ),
    (
        r#"{"action":"TakeDecision","token":"x","message":"hi"}"#,
        "Connection",
        "Invalid Token",
    ),
    (
        r#"{"action":"Disconnect"}"#,
        "Connection",
        "No token in request body",
    ),
    (
        r#"{"action":"Disconnect","token":"x"}"#,
        "Connection",
        "Invalid Token",
    ),
];

#[tokio::test]
async fn each_mistake_has_its_words_and_the_socket_lives() {
    let daemon = setup("").start().await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    for (message, route, why) in MISTAKES {
        socket.send(message).await;
        assert_eq!(socket.next().await, error(route, why), "{message}");
    }
    let incomplete = json!({"action": "TakeDecision", "token": token});
    assert_eq!(
        ask(&mut socket, incomplete).await,
        error("MakeDecision", MISSING)
    );
    // Found when the members are scanned, which is done on the way to the script.
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    for message in [r#""\ud800""#, "1e999", &deep] {
        let broken =
            format!(r#"{{"action":"TakeDecision","token":"{token}","message":{message}}}"#);
        socket.send(broken).await;
        assert_eq!(socket.next().await, error("root", NOT_JSON));
    }
    socket.send_frame(Message::binary(&b"\xff\xfe"[..])).await;
    assert_eq!(socket.next().await, error("root", NOT_JSON));
    assert_eq!(
        ask(&mut socket, decision(&token, "hi")).await,
        decided("action:tom heard hi")
    );
}

#[tokio::test]
async fn nobody_answers_what_nobody_knows() {
    let daemon = setup("")
        .config(&format!(
            r#"
            [[listen.endpoint]]
            path = "/strict"
            dialect = "action"
            api_key = "{KEY}"
            answer_unknown = true
            "#
        ))
        .start()
        .await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    let long = "x".repeat(300);
    for action in ["Dance", "register", "a/b", "..", &long] {
        socket.send(json!({"action": action}).to_string()).await;
        let known = json!({"action": action, "token": token});
        socket.send(known.to_string()).await;
    }
    // Had any been answered, this would not be next.
    let answer = ask(&mut socket, decision(&token, "hi")).await;
    assert_eq!(answer, decided("action:tom heard hi"));
    assert!(socket.is_quiet(Duration::from_millis(100)).await);

    let mut strict = Ws::try_connect(&daemon.ws_url("/strict/ws"), &[])
        .await
        .ok();
    let strict = strict.as_mut().unwrap();
    let answer = ask(strict, json!({"action": "Dance"})).await;
    assert_eq!(answer, error("Dance", "Unknown action"));
}

#[tokio::test]
async fn what_cannot_be_decided_is_said() {
    let daemon = setup("")
        .config(
            r#"
            [[listen.endpoint]]
            path = "/closed"
            dialect = "action"
            methods = "closed/{action}"
            "#,
        )
        .script("decide.js", "throw new Error('no idea');")
        .config("[[route]]\nmethod = \"game/Fails\"\nscript = \"fails.js\"")
        .script("fails.js", "throw new Error('on purpose');")
        .start()
        .await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    let answer = ask(&mut socket, decision(&token, "hi")).await;
    let service = "Error while calling MakeDecision service";
    assert_eq!(answer, error("MakeDecision", service));
    let answer = ask(&mut socket, json!({"action": "Fails", "token": token})).await;
    assert_eq!(answer["route"], "Fails");
    let why = answer["message"].as_str().unwrap();
    assert!(why.contains("on purpose"), "{why}");

    // Without a key in the configuration nobody registers, whatever is sent.
    let mut closed = Ws::try_connect(&daemon.ws_url("/closed/ws"), &[])
        .await
        .ok();
    let closed = closed.as_mut().unwrap();
    let registration = json!({
        "action": "Register", "API_KEY": KEY, "checksum": "c", "name": "n", "prompt": "p"
    });
    let answer = ask(closed, registration).await;
    assert_eq!(answer, error("Register", "Invalid API Key"));
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let daemon = setup("")
        .config("[limits]\nmessage = \"64KiB\"\nin_flight_per_connection = 4")
        .start()
        .await;
    let mut socket = connect(&daemon).await;
    for (field, length) in [("name", 81), ("checksum", 1025), ("prompt", 16 * 1024 + 1)] {
        let mut message = json!({
            "action": "Register", "API_KEY": KEY, "checksum": "c", "name": "n", "prompt": "p"
        });
        message[field] = "x".repeat(length).into();
        let answer = ask(&mut socket, message).await;
        let why = answer["message"].as_str().unwrap();
        assert!(
            why.starts_with(&format!("the {field} has {length} bytes")),
            "{why}"
        );
    }
    // More at once than may be under way: the rest is refused, each in its turn.
    let token = register(&mut socket, "tom").await;
    for n in 0..40 {
        socket
            .send(decision(&token, &n.to_string()).to_string())
            .await;
    }
    let mut refused = 0;
    for n in 0..40 {
        let answer = socket.next().await;
        match answer["status"].as_str() {
            Some("success") => assert_eq!(answer, decided(&format!("action:tom heard {n}"))),
            _ => {
                assert_eq!(answer["route"], "MakeDecision", "{answer}");
                refused += 1;
            }
        }
    }
    assert!(refused < 40);
    socket.send(" ".repeat(64 * 1024 + 1)).await;
    assert_eq!(socket.close_code().await, 1009);
}

#[tokio::test]
async fn who_guesses_is_slowed_and_who_knows_is_not() {
    let daemon = setup("")
        .config("[limits]\nauth_failures = \"3/m\"")
        .start()
        .await;
    let mut socket = connect(&daemon).await;
    let start = Instant::now();
    let guesses: [Value; 6] = [
        json!({"action": "Connection", "checksum": "guess"}),
        json!({"action": "Disconnect", "token": "guess"}),
        json!({"action": "Register", "API_KEY": "a", "checksum": "c", "name": "n", "prompt": "p"}),
        json!({"action": "Register", "API_KEY": "b", "checksum": "c", "name": "n", "prompt": "p"}),
        decision("guess 2", "hi"),
        json!({"action": "Connection", "checksum": "guess 2"}),
    ];
    for guess in guesses {
        assert_eq!(ask(&mut socket, guess).await["status"], "error");
    }
    // 100, 200 and 400 ms.
    assert!(start.elapsed() > Duration::from_millis(600));
    let reached = r#"callway_limit_reached_total{limit="auth_failures"}"#;
    assert_eq!(daemon.metric(reached).await, 3.0);
    let start = Instant::now();
    let token = register(&mut socket, "tom").await;
    ask(&mut socket, decision(&token, "hi")).await;
    assert!(start.elapsed() < Duration::from_millis(600));
}

#[tokio::test]
async fn the_socket_is_at_its_place_and_need_not_say_anything() {
    let daemon = setup("")
        .config("[limits]\nhandshake = \"300ms\"\nping = \"100ms\"\npong = \"100ms\"")
        .start()
        .await;
    for path in ["/game", "/game/", "/game/wss", "/game/ws/more"] {
        let refused = Ws::try_connect(&daemon.ws_url(path), &[]).await;
        assert_eq!(refused.err(), Some(404), "{path}");
    }
    // A client that waits for somebody to type neither speaks nor reads, and stays.
    let origin = [("origin", "https://game.example.com")];
    let connected = Ws::try_connect(&daemon.ws_url("/game/ws/"), &origin).await;
    let mut socket = connected.ok().unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    register(&mut socket, "tom").await;
}

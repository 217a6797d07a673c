//! The Action API, as its clients of both generations speak it.

mod accounts;
mod bad;
mod clients;
mod example;
mod http;
mod many;

use serde_json::{Value, json};

use crate::support::{Daemon, Setup, Ws};

/// What who registers must know.
const KEY: &str = "API_KEY1234";

/// An endpoint at `/game`, and a script that answers decisions; `more` options of the endpoint.
fn setup(more: &str) -> Setup {
    Setup::new()
        .env("GAME_KEY", KEY)
        .config(&format!(
            r#"
            [[listen.endpoint]]
            path = "/game"
            dialect = "action"
            api_key = "${{GAME_KEY}}"
            {more}
            [[route]]
            method = "game/TakeDecision"
            script = "decide.js"
            [[route]]
            method = "game/NewMessage"
            script = "echo.js"
            "#
        ))
        .script(
            "decide.js",
            r#"return request.user.id + " heard " + request.parameters.message;"#,
        )
        .script("echo.js", "return request.parameters;")
}

async fn connect(daemon: &Daemon) -> Ws {
    let connected = Ws::try_connect(&daemon.ws_url("/game/ws"), &[]).await;
    connected.expect("the upgrade was refused")
}

/// Sends a message and returns the answer.
async fn ask(socket: &mut Ws, message: Value) -> Value {
    socket.send(message.to_string()).await;
    socket.next().await
}

/// Registers; the checksum is the name's.
async fn register(socket: &mut Ws, name: &str) -> String {
    let checksum = format!("checksum of {name}");
    let message = json!({
        "action": "Register", "API_KEY": KEY, "checksum": checksum, "name": name, "prompt": "be short"
    });
    token(&ask(socket, message).await)
}

async fn log_in(socket: &mut Ws, name: &str) -> String {
    let checksum = format!("checksum of {name}");
    let message = json!({"action": "Connection", "checksum": checksum});
    token(&ask(socket, message).await)
}

fn token(answer: &Value) -> String {
    let token = answer["token"].as_str();
    token.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn decision(token: &str, message: &str) -> Value {
    json!({"action": "TakeDecision", "token": token, "message": message})
}

fn decided(message: &str) -> Value {
    json!({
        "status": "success", "route": "MakeDecision", "message": message,
        "data": {"message": message, "status": 200},
    })
}

fn error(route: &str, message: &str) -> Value {
    json!({"status": "error", "route": route, "message": message})
}

#[tokio::test]
async fn a_game_registers_decides_and_leaves() {
    let daemon = setup("").start().await;
    let mut socket = connect(&daemon).await;
    let registered = json!({
        "action": "Register", "API_KEY": KEY, "checksum": "azerty", "name": "tom",
        "prompt": "juste le boss",
    });
    let answer = ask(&mut socket, registered).await;
    let token = token(&answer);
    assert_eq!(
        answer,
        json!({"status": "success", "route": "Register", "token": token, "data": token})
    );
    let answer = ask(&mut socket, decision(&token, "Hello World")).await;
    assert_eq!(answer, decided("action:tom heard Hello World"));

    // A token is not tied to a socket, and both names of an action are understood.
    let mut other = connect(&daemon).await;
    let again = json!({"action": "MakeDecision", "token": token, "message": "again"});
    assert_eq!(
        ask(&mut other, again).await,
        decided("action:tom heard again")
    );
    let login = json!({"action": "Connect", "checksum": "azerty"});
    let answer = ask(&mut other, login).await;
    let second = self::token(&answer);
    assert_eq!(
        answer,
        json!({"status": "success", "route": "Connection", "token": second, "data": second})
    );
    assert_ne!(second, token);

    let answer = ask(
        &mut socket,
        json!({"action": "Disconnect", "token": second}),
    )
    .await;
    assert_eq!(
        answer,
        json!({
            "status": "success", "route": "Disconnect", "message": "Disconnected",
            "data": "Disconnected",
        })
    );
    let answer = ask(&mut socket, decision(&second, "still there?")).await;
    assert_eq!(answer, error("Connection", "Invalid Token"));
    let log = daemon.log();
    for secret in [KEY, "azerty", &token, &second] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn any_action_that_has_a_route_is_one_and_carries_no_credential() {
    let daemon = setup("").start().await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    let message = json!({
        "Action": "NewMessage", "sender": "ann", "Token": token, "api_key": KEY, "Message": ["hi"],
    });
    let members = json!({"action": "NewMessage", "sender": "ann", "message": ["hi"]});
    assert_eq!(
        ask(&mut socket, message).await,
        json!({
            "status": "success", "route": "NewMessage", "message": members,
            "data": {"message": members, "status": 200},
        })
    );
    let without = json!({"action": "NewMessage", "sender": "ann"});
    assert_eq!(
        ask(&mut socket, without).await,
        error("Connection", "No token in request body")
    );
}

#[tokio::test]
async fn answers_keep_the_order_and_what_ends_a_token_waits_its_turn() {
    let daemon = setup("")
        .config("[[route]]\nmethod = \"game/Slow\"\nscript = \"slow.js\"\n")
        .script(
            "slow.js",
            "var end = Date.now() + 300; while (Date.now() < end) {} return 'slow';",
        )
        .start()
        .await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    let slow = json!({"action": "Slow", "token": token});
    for message in [
        slow.to_string(),
        decision(&token, "first").to_string(),
        "{".to_owned(),
        json!({"action": "Dance", "token": token}).to_string(),
        json!({"action": "Disconnect", "token": token}).to_string(),
        decision(&token, "too late").to_string(),
        json!({"action": "Connection", "checksum": "checksum of tom"}).to_string(),
    ] {
        socket.send(message).await;
    }
    assert_eq!(socket.next().await["message"], "slow");
    assert_eq!(socket.next().await, decided("action:tom heard first"));
    assert_eq!(
        socket.next().await,
        error("root", "Error while decoding JSON message")
    );
    assert_eq!(socket.next().await["message"], "Disconnected");
    assert_eq!(socket.next().await, error("Connection", "Invalid Token"));
    let last = self::token(&socket.next().await);
    assert_eq!(
        ask(&mut socket, decision(&last, "back")).await,
        decided("action:tom heard back")
    );
}

#[tokio::test]
async fn large_answers_that_waited_for_a_slow_one_all_arrive() {
    let daemon = setup("")
        .config("[[route]]\nmethod = \"game/Slow\"\nscript = \"slow.js\"\n")
        .script(
            "slow.js",
            "var end = Date.now() + 1000; while (Date.now() < end) {} return 'slow';",
        )
        .start()
        .await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    let slow = json!({"action": "Slow", "token": token});
    socket.send(slow.to_string()).await;
    // Together far more than limits.send_queue, and than a socket takes at once.
    let large = "x".repeat(100_000);
    for n in 0..60 {
        let message = json!({"action": "NewMessage", "token": token, "message": large, "n": n});
        socket.send(message.to_string()).await;
    }
    assert_eq!(socket.next().await["message"], "slow");
    for n in 0..60 {
        assert_eq!(socket.next().await["message"]["n"], n);
    }
}

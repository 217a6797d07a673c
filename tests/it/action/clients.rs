//! Clients that nobody wrote for callway, and a decision that a worker on AMQP takes.

use serde_json::{Value, json};

use super::{KEY, setup};
use crate::amqp::service::{Service, echo};
use crate::foreign::Client;
use crate::support::{Daemon, Rabbit, Setup};

/// Starts the script that is driven by commands.
async fn script(daemon: &Daemon, reads: &str) -> Client {
    let task = json!({
        "url": daemon.ws_url("/game/ws"), "api_key": KEY, "checksum": "azerty", "reads": reads,
    });
    let mut client = Client::start("action_client.py", &task);
    assert_eq!(client.line().await, "ready");
    client
}

/// Types a command; what the script printed then.
async fn type_in(client: &mut Client, command: &str) -> Value {
    client.type_in(command).await;
    serde_json::from_str(&client.line().await).unwrap()
}

#[tokio::test]
async fn the_test_scripts_of_both_generations_work() {
    let daemon = setup("").start().await;
    let mut newer = script(&daemon, "token").await;
    let said = "action:tom heard Hello World";
    for (command, route, what) in [
        (
            "TakeDecision",
            "Connection",
            json!("No token in request body"),
        ),
        ("Register", "Register", Value::Null),
        ("TakeDecision", "MakeDecision", json!(said)),
        ("Connection", "Connection", Value::Null),
        ("TakeDecision", "MakeDecision", json!(said)),
        ("Disconnect", "Disconnect", json!("Disconnected")),
        ("TakeDecision", "Connection", json!("Invalid Token")),
    ] {
        let answer = type_in(&mut newer, command).await;
        assert_eq!(answer["route"], route, "{command}: {answer}");
        assert_eq!(answer["message"], what, "{command}: {answer}");
    }
    newer.type_in("exit").await;

    // It has no key, so it can only log in; and it takes "Disconnected" for a token.
    let mut older = script(&daemon, "data").await;
    let missing = "Missing required fields in the JSON message";
    for (command, status, member, what) in [
        ("Register", "error", "message", json!(missing)),
        ("Connection", "success", "message", Value::Null),
        (
            "TakeDecision",
            "success",
            "data",
            json!({"message": said, "status": 200}),
        ),
        ("Disconnect", "success", "data", json!("Disconnected")),
        ("TakeDecision", "error", "message", json!("Invalid Token")),
        ("Connection", "success", "message", Value::Null),
        ("TakeDecision", "success", "message", json!(said)),
    ] {
        let answer = type_in(&mut older, command).await;
        assert_eq!(answer["status"], status, "{command}: {answer}");
        assert_eq!(answer[member], what, "{command}: {answer}");
    }
    older.type_in("exit").await;
}

#[tokio::test]
async fn many_at_once_with_another_library() {
    let daemon = setup("").start().await;
    let task = json!({"url": daemon.ws_url("/game/ws"), "api_key": KEY, "users": 15});
    let visits = Client::start("action_websockets.py", &task).finish().await;
    for (user, visit) in visits.as_array().unwrap().iter().enumerate() {
        let heard = format!("action:user {user} heard user {user}");
        assert_eq!(*visit, json!([heard, "Disconnected", "Invalid Token"]));
    }
}

#[tokio::test]
async fn a_decision_is_taken_by_a_worker_on_amqp() {
    let rabbit = Rabbit::shared().await;
    let daemon = Setup::new()
        .config(&format!(
            r#"
            [[listen.endpoint]]
            path = "/game"
            dialect = "action"
            api_key = "{KEY}"
            [bus.office]
            url = "{}"
            calls = ""
            [[route]]
            method = "game/{{action}}"
            amqp = {{ bus = "office", routing_key = "game-decisions" }}
            "#,
            rabbit.url()
        ))
        .start()
        .await;
    daemon.link_is("office", "up").await;
    let mut nobody = script(&daemon, "token").await;
    type_in(&mut nobody, "Register").await;
    let answer = type_in(&mut nobody, "TakeDecision").await;
    let why = "Error while calling MakeDecision service";
    assert_eq!(answer["message"], why, "there is no worker yet");

    let mut worker = Service::start(&rabbit.url(), "game-decisions", echo).await;
    let answer = type_in(&mut nobody, "TakeDecision").await;
    let members = json!({"action": "TakeDecision", "message": "Hello World"});
    assert_eq!(answer["message"], members);
    assert_eq!(answer["data"], json!({"message": members, "status": 200}));
    let request = worker.next().await;
    let method = request.properties.kind().clone().unwrap();
    assert_eq!(method.to_string(), "game/TakeDecision");
    assert_eq!(
        serde_json::from_slice::<Value>(&request.data).unwrap(),
        members
    );
}

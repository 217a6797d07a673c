//! The example in config/examples/action does what its README says.

use serde_json::{Value, json};

use super::{ask, token};
use crate::support::{Setup, Ws};

#[tokio::test]
async fn the_example_works_as_its_readme_says() {
    let daemon = Setup::example("action").start().await;
    let connected = Ws::try_connect(&daemon.ws_url("/ws"), &[]).await;
    let mut socket = connected.ok().unwrap();
    let readme = include_str!("../../../config/examples/action/README.md");
    let typed = readme
        .lines()
        .filter(|line| line.starts_with("{\"action\""));
    let typed: Vec<Value> = typed
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [registration, decision] = &typed[..] else {
        panic!("{typed:?}");
    };
    let token = token(&ask(&mut socket, registration.clone()).await);
    let mut decision = decision.clone();
    decision["token"] = token.clone().into();
    let answer = ask(&mut socket, decision.clone()).await;
    assert_eq!(answer["message"], "tom: Hello to you!");
    decision["message"] = "Where is the key?".into();
    let answer = ask(&mut socket, decision).await;
    let said = "tom (juste le boss): Where is the key? Let me think about it.";
    assert_eq!(answer["message"], said);
    let message = json!({"action": "NewMessage", "token": token, "sender": "ann", "message": "hi"});
    let answer = ask(&mut socket, message).await;
    assert_eq!(answer["message"], "Message sent successfully");
}

//! Accounts and tokens: made once, replaced, ended, and still there after a restart.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use super::{KEY, ask, connect, decided, decision, error, log_in, register, setup, token};
use crate::eventually;
use crate::support::{Service, TOKEN, Ws};

#[tokio::test]
async fn a_checksum_is_registered_once_and_one_name_makes_two_callers() {
    let daemon = setup("").start().await;
    let registration = |checksum: &str| {
        json!({
            "action": "Register", "API_KEY": KEY, "checksum": checksum, "name": "tom", "prompt": "p"
        })
    };
    let tries = (0..8).map(|_| async {
        let mut socket = connect(&daemon).await;
        ask(&mut socket, registration("same")).await
    });
    let (made, refused): (Vec<_>, Vec<_>) = join_all(tries)
        .await
        .into_iter()
        .partition(|answer| answer["status"] == "success");
    assert_eq!((made.len(), refused.len()), (1, 7));
    assert_eq!(refused[0], error("Register", "Error saving in database"));

    let mut socket = connect(&daemon).await;
    let second = token(&ask(&mut socket, registration("another")).await);
    let first = token(&made[0]);
    for (token, caller) in [(first, "action:tom"), (second, "action:tom:2")] {
        let said = decided(&format!("{caller} heard hi"));
        assert_eq!(ask(&mut socket, decision(&token, "hi")).await, said);
    }
    let odd = register(&mut socket, "Zoé/../{x}").await;
    let said = decided("action:Zoé%2F..%2F%7Bx%7D heard hi");
    assert_eq!(ask(&mut socket, decision(&odd, "hi")).await, said);
}

#[tokio::test]
async fn who_has_a_token_that_was_replaced_is_nobody() {
    let daemon = setup("").start().await;
    let (mut one, mut two) = (connect(&daemon).await, connect(&daemon).await);
    let first = register(&mut one, "tom").await;
    let anns = register(&mut one, "ann").await;
    let second = log_in(&mut two, "tom").await;
    for message in [
        decision(&first, "hi"),
        json!({"action": "Disconnect", "token": first}),
    ] {
        let answer = ask(&mut one, message).await;
        assert_eq!(answer, error("Connection", "Invalid Token"));
    }
    for (token, caller) in [(second, "action:tom"), (anns, "action:ann")] {
        let said = decided(&format!("{caller} heard hi"));
        assert_eq!(ask(&mut one, decision(&token, "hi")).await, said);
    }
}

#[tokio::test]
async fn a_token_of_another_system_proves_nobody() {
    let daemon = setup("")
        .config(&format!(
            r#"
            [[listen.endpoint]]
            path = "/other"
            dialect = "action"
            methods = "other/{{action}}"
            api_key = "{KEY}"
            "#
        ))
        .start()
        .await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    let answer = ask(&mut socket, decision(TOKEN, "hi")).await;
    assert_eq!(answer, error("Connection", "Invalid Token"));

    let bearer = format!("Bearer {token}");
    let refused = Ws::try_connect(&daemon.ws_url("/rpc"), &[("authorization", &bearer)]).await;
    assert_eq!(refused.err(), Some(401));

    let mut other = Ws::try_connect(&daemon.ws_url("/other/ws"), &[]).await.ok();
    let other = other.as_mut().unwrap();
    let answer = ask(other, decision(&token, "hi")).await;
    assert_eq!(answer, error("Connection", "Invalid Token"));
    let login = json!({"action": "Connection", "checksum": "checksum of tom"});
    let answer = ask(other, login).await;
    assert_eq!(answer, error("Connection", "Account doesn't exist"));
}

#[tokio::test]
async fn a_token_that_nobody_uses_ends() {
    let daemon = setup(r#"token_idle = "1500ms""#).start().await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    for _ in 0..3 {
        sleep(Duration::from_millis(600)).await;
        let answer = ask(&mut socket, decision(&token, "hi")).await;
        assert_eq!(answer, decided("action:tom heard hi"), "it is used");
    }
    sleep(Duration::from_millis(1700)).await;
    let answer = ask(&mut socket, decision(&token, "hi")).await;
    assert_eq!(answer, error("Connection", "Invalid Token"));
    let token = log_in(&mut socket, "tom").await;
    let answer = ask(&mut socket, decision(&token, "hi")).await;
    assert_eq!(answer["status"], "success");
}

#[tokio::test]
async fn a_token_ends_after_its_lifetime_however_much_it_is_used() {
    let daemon = setup(r#"token_lifetime = "700ms""#).start().await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    eventually!(
        ask(&mut socket, decision(&token, "hi")).await == error("Connection", "Invalid Token")
    );
}

#[tokio::test]
async fn accounts_and_tokens_are_there_after_a_restart_and_what_has_ended_is_not() {
    let mut daemon = setup("").start().await;
    let mut socket = connect(&daemon).await;
    let toms = register(&mut socket, "tom").await;
    let old = register(&mut socket, "ann").await;
    let anns = log_in(&mut socket, "ann").await;
    let bobs = register(&mut socket, "bob").await;
    ask(&mut socket, json!({"action": "Disconnect", "token": bobs})).await;

    daemon.restart().await;
    let mut socket = connect(&daemon).await;
    for (token, caller) in [(&toms, "tom"), (&anns, "ann")] {
        let said = decided(&format!("action:{caller} heard hi"));
        assert_eq!(ask(&mut socket, decision(token, "hi")).await, said);
    }
    for token in [&old, &bobs] {
        let answer = ask(&mut socket, decision(token, "hi")).await;
        assert_eq!(answer, error("Connection", "Invalid Token"));
    }
    let bobs = log_in(&mut socket, "bob").await;
    let said = decided("action:bob heard hi");
    assert_eq!(ask(&mut socket, decision(&bobs, "hi")).await, said);

    for file in std::fs::read_dir(daemon.directory.path().join("state")).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        for secret in [&toms, &anns, "checksum of tom", KEY] {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{} holds {secret}", path.display());
        }
    }
}

#[tokio::test]
async fn what_an_account_asked_for_is_carried_out_when_it_has_left() {
    let service = Service::start().await;
    let daemon = setup("")
        .config(&format!(
            r#"
            [[route]]
            method = "game/Remember"
            http = {{ url = "http://{}/remember" }}
            one_way = true
            "#,
            service.address()
        ))
        .start()
        .await;
    let mut socket = connect(&daemon).await;
    let token = register(&mut socket, "tom").await;
    let remember = json!({"action": "Remember", "token": token, "what": "the door"});
    let answer = ask(&mut socket, remember).await;
    assert_eq!(answer["message"]["state"], "queued", "{answer}");
    ask(&mut socket, json!({"action": "Disconnect", "token": token})).await;
    eventually!(!service.asked().is_empty());
    let asked = service.asked().remove(0);
    assert!(
        asked.contains("the door") && !asked.contains(&token),
        "{asked}"
    );
}

#[tokio::test]
async fn accounts_have_a_limit() {
    let daemon = setup("").config("[limits]\naccounts = 2").start().await;
    let mut socket = connect(&daemon).await;
    for name in ["tom", "ann"] {
        register(&mut socket, name).await;
    }
    let third = json!({
        "action": "Register", "API_KEY": KEY, "checksum": "c", "name": "bob", "prompt": "p"
    });
    let answer = ask(&mut socket, third).await;
    assert_eq!(answer, error("Register", "Error saving in database"));
    let reached = r#"callway_limit_reached_total{limit="accounts"}"#;
    assert_eq!(daemon.metric(reached).await, 1.0);
    log_in(&mut socket, "tom").await;
}

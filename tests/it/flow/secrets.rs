//! Secrets of threads: got by who comes first, needed by everybody from then on.

use serde_json::{Value, json};

use super::{connect, endpoint, info_of, open, sdk, send, setup, text};

fn with_nonce(thread: &str, speech: &str, nonce: &Value) -> String {
    let mut frame: Value = serde_json::from_str(&send(thread, speech)).unwrap();
    frame["payload"]["nonce"] = nonce.clone();
    frame.to_string()
}

#[tokio::test]
async fn a_thread_needs_the_secret_that_its_first_caller_got() {
    let mut daemon = setup("nonce = true").start().await;
    let first = info_of(&daemon, "first", "t|first", "undefined").await;
    let secret = first.json()["secret"].as_str().unwrap().to_owned();
    let mut socket = open(&endpoint(&first)).await;

    for wrong in ["null", "cw_wrong"] {
        let refused = info_of(&daemon, "first", "t|first", wrong).await;
        assert_eq!(refused.status, 401, "{wrong}: {}", refused.text());
        let history = sdk(&daemon, "first", "t|first", wrong)
            .get("/flow/thread.history")
            .await;
        assert_eq!(history.status, 401);
    }
    let other = info_of(&daemon, "second", "t|first", &secret).await;
    assert_eq!(other.status, 403, "of another client");

    for wrong in [Value::Null, json!("cw_wrong")] {
        socket.send(with_nonce("t|first", "hi", &wrong)).await;
        let said = socket.next().await;
        assert_eq!(said["type"], "error");
        assert!(
            said["message"].as_str().unwrap().contains("nonce"),
            "{said}"
        );
    }
    socket
        .send(with_nonce("t|first", "hi", &json!(secret)))
        .await;
    let delivered = socket.next().await;
    assert_eq!(delivered["type"], "message.delivered");
    assert!(!delivered.to_string().contains(&secret));
    assert_eq!(text(&socket.next().await), "you said hi");

    // It outlives the process, as a hash.
    daemon.restart().await;
    assert_eq!(
        info_of(&daemon, "first", "t|first", "null").await.status,
        401
    );
    let again = info_of(&daemon, "first", "t|first", &secret).await;
    assert_eq!((again.status, again.json().get("secret")), (200, None));
    let history = sdk(&daemon, "first", "t|first", &secret)
        .get("/flow/thread.history")
        .await;
    assert_eq!(history.json()["payload"].as_array().unwrap().len(), 2);
    let state = daemon.directory.path().join("state");
    for file in std::fs::read_dir(state).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_dir() {
            Vec::new()
        } else {
            std::fs::read(&path).unwrap()
        };
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{}", path.display());
    }
    assert!(!daemon.log().contains(&secret));
}

#[tokio::test]
async fn a_thread_that_begins_on_a_socket_gets_its_secret_there() {
    let daemon = setup("nonce = true").start().await;
    let mut socket = connect(&daemon, "first").await;
    socket.send(send("t", "hi")).await;
    let generated = socket.next().await;
    assert_eq!(generated["type"], "secret.generated");
    let secret = generated["message"]["secret"].clone();
    assert_eq!(socket.next().await["type"], "message.delivered");
    assert_eq!(text(&socket.next().await), "you said hi");
    socket.send(send("t", "again")).await;
    assert_eq!(socket.next().await["type"], "error");
    socket.send(with_nonce("t", "again", &secret)).await;
    assert_eq!(socket.next().await["type"], "message.delivered");
    assert_eq!(text(&socket.next().await), "you said again");
}

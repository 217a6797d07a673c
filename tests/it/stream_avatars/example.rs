//! `config/examples/stream-avatars` works as its README says.

use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::support::{Ws, free_port};

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/config/examples/stream-avatars"
);

#[tokio::test]
async fn the_example_starts_with_one_command_and_its_bot_answers() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    copy(Path::new(EXAMPLE), directory.path());
    let config = directory.path().join("callway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert_eq!(text.matches("127.0.0.1:8080").count(), 1);
    std::fs::write(&config, text.replace("127.0.0.1:8080", &address)).unwrap();
    let mut daemon = tokio::process::Command::new(env!("CARGO_BIN_EXE_callway"))
        .args(["run", "--config"])
        .arg(&config)
        .env("CALLWAY__ADMIN__ADDRESS", "")
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    crate::eventually!(tokio::net::TcpStream::connect(&address).await.is_ok());

    let mut viewer = Ws::connect(&format!("ws://{address}/rpc"), "change-me").await;
    let chat = json!({ "channel": "stream/chat" });
    viewer.call("callway.subscribe", chat).await.unwrap();
    // The bot is there once it answers.
    let ask = || json!({ "user": "Ada" });
    crate::eventually!(viewer.call("bot/points", ask()).await.is_ok());
    for (message, answer) in [
        ("hello", "Welcome, Ada!"),
        ("!daily", "Ada now has 10 points."),
        ("!daily", "Ada, come back tomorrow."),
        ("!give Ada 11", "Ada has only 10 points."),
        ("!give", ""),
    ] {
        let payload = json!({ "user": { "id": "1", "name": "Ada" }, "message": message });
        let said = json!({ "channel": "stream/chat", "payload": payload });
        viewer.call("callway.publish", said).await.unwrap();
        if !answer.is_empty() {
            let wrote = |event: &serde_json::Value| event["params"]["payload"]["message"] == answer;
            viewer.find(wrote).await;
        }
    }
    let points = viewer.call("bot/points", ask()).await.unwrap();
    assert_eq!(points, json!({ "user": "Ada", "points": 10 }));
    assert_eq!(
        viewer.call("bot/other", ask()).await,
        Err("target_error".into())
    );
    daemon.kill().await.unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

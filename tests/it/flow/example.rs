//! `config/examples/flow` does what its README says.

use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use super::{open, text};
use crate::eventually;
use crate::support::{Http, free_port};

#[tokio::test]
async fn the_example_chats_and_pushes() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/flow");
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::create_dir(here.join("scripts")).unwrap();
    for script in ["scripts/message.js", "scripts/alarm.js"] {
        std::fs::copy(example.join(script), here.join(script)).unwrap();
    }
    let (port, admin) = (free_port(), free_port());
    let config = std::fs::read_to_string(example.join("callway.toml")).unwrap();
    let config = config.replace(":8080", &format!(":{port}"));
    let config = config.replace(":9464", &format!(":{admin}"));
    std::fs::write(here.join("callway.toml"), config).unwrap();
    let callway = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callway"));
        command
            .args(arguments)
            .arg("--config")
            .arg(here.join("callway.toml"));
        command.kill_on_drop(true).stdin(Stdio::null());
        command
    };
    let _daemon = callway(&["run"]).spawn().unwrap();
    let ready = async || {
        let address = ("127.0.0.1", admin);
        tokio::net::TcpStream::connect(address).await.is_ok()
            && Http::new(([127, 0, 0, 1], admin).into())
                .get("/readyz")
                .await
                .status
                == 200
    };
    eventually!(ready().await);

    let http = Http::new(([127, 0, 0, 1], port).into());
    let info = http
        .get("/socket.info?clientId=my-website&sessionId=1")
        .await
        .json();
    let mut socket = open(info["payload"]["endpoint"].as_str().unwrap()).await;
    let say = |more: serde_json::Value| {
        let mut payload = json!({"threadId": "jane.doe", "originator": {"name": "Jane"}});
        payload
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"type": "message.send", "payload": payload}).to_string()
    };
    socket
        .send(say(json!({"speech": "When are you open?"})))
        .await;
    assert_eq!(socket.next().await["type"], "message.delivered");
    assert_eq!(text(&socket.next().await), "We are open from nine to five.");
    let event = json!({"type": "event", "payload": {"name": "INTRO"}});
    socket.send(say(json!({"attachment": event}))).await;
    assert_eq!(socket.next().await["type"], "message.delivered");
    assert_eq!(
        text(&socket.next().await),
        "Hello Jane, what can I do for you?"
    );

    let create = [
        "token",
        "create",
        "back-end",
        "--call",
        "flow/message",
        "--publish",
        "flow/{t}",
        "--publish",
        "readings/{p}",
        "--subscribe",
        "flow/{t}",
    ];
    let made = callway(&create).output().await.unwrap();
    assert!(made.status.success(), "{made:?}");
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let back_end = http.clone().header("authorization", &token);
    let message = json!({"payload": {"type": "text", "speech": "hello"}});
    let reply = back_end
        .post("/rest/v1/messages/jane.doe?sync=true", &message)
        .await;
    assert_eq!(reply.json()["messages"][0]["fallback"], "You said: hello");
    assert_eq!(text(&socket.next().await), "You said: hello");
    let reading = json!({"celsius": 31});
    let read = http
        .bearer(&token)
        .post("/api/channels/readings/greenhouse", &reading)
        .await;
    assert!(matches!(read.status, 202 | 204), "{}", read.text());
    assert_eq!(text(&socket.next().await), "It is 31 °C in the greenhouse.");
}

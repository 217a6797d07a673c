//! Webhooks: posted from the spool until they are taken, whatever happens in between.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{KEY, ask, back_end, connect, publish, setup, text};
use crate::support::{Daemon, Http, Setup, free_port, service};

/// Takes what is posted, with the statuses that it is told to answer first.
struct Receiver {
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    statuses: VecDeque<u16>,
    refused: usize,
    heads: Vec<String>,
    taken: Vec<Value>,
}

impl Receiver {
    async fn start(address: SocketAddr, statuses: &[u16]) -> Receiver {
        let listener = TcpListener::bind(address).await.unwrap();
        let state = Arc::new(Mutex::new(State {
            statuses: statuses.iter().copied().collect(),
            ..State::default()
        }));
        let serving = tokio::spawn(serve(listener, state.clone()));
        Receiver { state, serving }
    }

    fn taken(&self) -> Vec<Value> {
        self.state.lock().unwrap().taken.clone()
    }

    /// The texts, and the types, of what was taken.
    fn texts(&self) -> Vec<String> {
        let text = |value: &Value| {
            value["messages"][0]["fallback"]
                .as_str()
                .unwrap_or("-")
                .to_owned()
        };
        self.taken().iter().map(text).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            while let Some(request) = service::read(&mut stream).await {
                let (head, body) = request.split_once("\r\n\r\n").unwrap();
                let answer = {
                    let mut state = state.lock().unwrap();
                    let status = state.statuses.pop_front().unwrap_or(202);
                    state.heads.push(head.to_owned());
                    match status {
                        202 => state.taken.push(serde_json::from_str(body).unwrap()),
                        _ => state.refused += 1,
                    }
                    format!(
                        "HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
                    )
                };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn hooked() -> (SocketAddr, Setup) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let hook = format!(r#"webhook = {{ url = "http://{address}/hook", token = "${{HOOK}}" }}"#);
    (address, setup(&hook).env("HOOK", "hook-secret"))
}

async fn say(daemon: &Daemon, thread: &str, speech: &str, query: &str) {
    let key: Http = back_end(daemon, KEY);
    let body = json!({"payload": {"type": "text", "speech": speech}});
    let path = format!("/flow/rest/v1/messages/{thread}{query}");
    let reply = key.post(&path, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn only_2xx_is_an_acknowledgement() {
    let (address, setup) = hooked();
    let receiver = Receiver::start(address, &[500, 302]).await;
    let daemon = setup.start().await;
    say(&daemon, "t", "hi", "").await;
    crate::eventually!(receiver.texts() == ["you said hi"]);
    assert_eq!(receiver.state.lock().unwrap().refused, 2);
    let message = &receiver.taken()[0];
    assert_eq!(
        (&message["type"], &message["threadId"]),
        (&json!("message"), &json!("t"))
    );
    let heads = receiver.state.lock().unwrap().heads.clone();
    let id = |head: &str| head.split("callway-webhook-id: ").nth(1).unwrap()[..36].to_owned();
    assert_eq!(id(&heads[0]), id(&heads[2]), "a repeat says that it is one");
    let proved = |head: &String| head.contains("authorization: Bearer hook-secret");
    assert!(heads.iter().all(proved), "{heads:?}");
    assert!(
        heads.iter().all(|head| head.starts_with("POST /hook ")),
        "redirects are not followed"
    );
    assert!(!daemon.log().contains("hook-secret"));
}

#[tokio::test]
async fn what_was_not_taken_outlives_the_process() {
    let (address, setup) = hooked();
    let mut daemon = setup.start().await;
    for number in 0..5 {
        say(&daemon, "t", &number.to_string(), "?writeConcern=true").await;
    }
    daemon.restart().await;
    let receiver = Receiver::start(address, &[503]).await;
    let all: Vec<_> = (0..5).map(|number| format!("you said {number}")).collect();
    crate::eventually!(receiver.texts() == all);
}

#[tokio::test]
async fn what_nobody_took_in_time_is_dead_and_can_be_tried_again() {
    let (address, setup) = hooked();
    let daemon = setup.config("[limits]\nspool_age = \"1s\"").start().await;
    say(&daemon, "t", "hi", "").await;
    let dead = async || {
        let listed = daemon.command(&["dead", "list", "--json"]).await;
        serde_json::from_slice::<Value>(&listed.stdout).unwrap()
    };
    crate::eventually!(dead().await.to_string().contains("\"webhook\""));
    let letter = dead().await.to_string();
    assert!(
        letter.contains("webhook/flow") && !letter.contains("hook-secret"),
        "{letter}"
    );
    let receiver = Receiver::start(address, &[]).await;
    let retried = daemon.command(&["dead", "retry", "1"]).await;
    assert!(retried.status.success(), "{retried:?}");
    crate::eventually!(receiver.texts() == ["you said hi"]);
}

#[tokio::test]
async fn a_webhook_gets_replies_and_pushes_and_pages() {
    let (address, setup) = hooked();
    let receiver = Receiver::start(address, &[]).await;
    let daemon = setup.start().await;
    let mut socket = connect(&daemon, "first").await;
    assert_eq!(text(&ask(&mut socket, "s", "1").await), "you said 1");
    say(&daemon, "s", "2", "?sync=true").await; // its asker has it
    publish(&daemon, "flow/s", &json!("3")).await;
    let unlike_a_reply = json!({"sync": true, "celsius": 31});
    publish(&daemon, "flow/s", &unlike_a_reply).await;
    publish(
        &daemon,
        "flow/s",
        &json!({"type": "agent.typing", "payload": {}}),
    )
    .await;
    let pushed = r#"{"celsius":31,"sync":true}"#;
    crate::eventually!(receiver.texts() == ["you said 1", "3", pushed]);

    let key = back_end(&daemon, KEY);
    for path in ["messages/s?page=1", "threads", "messages/s?sync=true"] {
        assert_eq!(key.get(&format!("/flow/rest/v1/{path}")).await.status, 200);
    }
    let types = || {
        receiver
            .taken()
            .iter()
            .skip(3)
            .map(|one| one["type"].clone())
            .collect::<Vec<_>>()
    };
    crate::eventually!(types().len() == 2);
    assert!(types().contains(&json!("threads")));
    let history = receiver
        .taken()
        .into_iter()
        .find(|one| one["type"] == "history")
        .unwrap();
    assert_eq!(
        (&history["threadId"], &history["page"]),
        (&json!("s"), &json!(1))
    );
}

//! Talkee's clients: rooms that are channels, over WebSocket and HTTP.

mod crossing;
mod example;
mod http;
mod rooms;
mod strangers;
mod widget;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::support::{Daemon, Http, Setup, Ws};

const ALICE: &str = "cw_token-of-alice";
const BOB: &str = "cw_token-of-bob";
const ROOM: &str = "/talkee/ws/messages?site_id=1&slug=room-a";

/// Two users with rooms of site 1; bob may not speak in site 2.
fn setup(options: &str) -> Setup {
    let token = |name: &str, token: &str, rooms: &str| {
        format!(
            r#"
            [[token]]
            name = "{name}"
            sha256 = "{}"
            publish = ["{rooms}"]
            subscribe = ["{rooms}"]
            "#,
            callway::auth::digest(token)
        )
    };
    let config = format!(
        r#"
        [[listen.endpoint]]
        path = "/talkee"
        dialect = "talkee"
        users = [{{ id = 1, full_name = "Alice", token = "alice" }}, {{ id = 2, full_name = "Bob", token = "bob" }}]
        {options}
        [[channel]]
        name = "talkee/{{site_id}}/{{slug}}"
        history = {{ count = 100 }}
        {}{}
        "#,
        token("alice", ALICE, "talkee/{site_id}/{slug}"),
        token("bob", BOB, "talkee/1/{slug}"),
    );
    Setup::new().config(&config)
}

fn message(text: &str) -> Value {
    json!({"category": "text", "data": BASE64.encode(text)})
}

/// Says something in a room; what the server answers.
async fn say(daemon: &Daemon, token: &str, room: &str, message: &Value) -> Value {
    let reply = api(daemon).bearer(token).post(room, message).await;
    assert_eq!(reply.status, 200);
    reply.json()
}

/// Enters a room and waits until what is said there is heard.
async fn enter(daemon: &Daemon, token: &str, query: &str) -> Ws {
    let url = daemon.ws_url(&format!("/talkee/ws?{query}"));
    let mut member = Ws::try_connect(&url, &[]).await.unwrap();
    member
        .send(json!({"type": "auth", "token": token}).to_string())
        .await;
    member
}

fn api(daemon: &Daemon) -> Http {
    Http::new(daemon.address)
}

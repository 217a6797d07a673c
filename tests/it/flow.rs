//! Flow.ai's sockets, as its clients speak them: asked for, opened once, told what their threads are
//! told and nothing else.

mod example;
mod pushes;
mod rest;
mod sdk;
mod secrets;
mod users;
mod webhooks;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Daemon, Http, HttpReply, PATIENCE, Setup, TOKEN, Ws};

/// Says what it is asked to say.
pub const SCRIPT: &str = r#"
    var said = request.body.speech;
    if (said === "fail") throw new Error("on purpose");
    if (said === "nothing") return null;
    if (said === "params") return request.body;
    if (said === "slow") { var end = Date.now() + 300; while (Date.now() < end) {} }
    if (said === "card") return { messages: [{ fallback: "card", responses: [{ type: "card", payload: {} }] }] };
    return "you said " + said;
"#;

/// Two clients, of which each acts as a token row of its own, on `/flow`.
pub fn setup(options: &str) -> Setup {
    Setup::new()
        .config(&format!(
            r#"
            [[listen.endpoint]]
            path = "/flow"
            dialect = "flow"
            clients = [{{ id = "first", token = "web" }}, {{ id = "second", token = "app" }}]
            {options}
            [[token]]
            name = "web"
            sha256 = "{}"
            call = ["flow/message"]
            publish = ["flow/{{threadId}}"]
            subscribe = ["flow/{{threadId}}"]
            [[token]]
            name = "app"
            sha256 = "{}"
            call = ["flow/message"]
            publish = ["flow/{{threadId}}"]
            subscribe = ["flow/{{threadId}}"]
            [[channel]]
            name = "flow/{{threadId}}"
            history = {{ count = 1000, age = "1h" }}
            [[route]]
            method = "flow/message"
            script = "message.js"
            "#,
            callway::auth::digest(KEY),
            callway::auth::digest("nobody has this one"),
        ))
        .script("message.js", SCRIPT)
}

/// The token of the row `web`, for the REST API.
pub const KEY: &str = "cw_key-of-the-back-end";

/// Asks for a socket as the reference page does.
pub async fn info(daemon: &Daemon, client: &str) -> HttpReply {
    let path = format!("/flow/socket.info?clientId={client}&sessionId=1");
    Http::new(daemon.address).get(&path).await
}

/// Asks for a socket of a thread as the SDK does.
pub async fn info_of(daemon: &Daemon, client: &str, thread: &str, secret: &str) -> HttpReply {
    let http = sdk(daemon, client, thread, secret);
    http.header("x-flowai-sessionid", "s1")
        .header("x-flowai-ott", "null")
        .get("/flow/socket.info")
        .await
}

/// An HTTP client with the SDK's header fields.
pub fn sdk(daemon: &Daemon, client: &str, thread: &str, secret: &str) -> Http {
    Http::new(daemon.address)
        .header("x-flowai-clientid", client)
        .header("x-flowai-threadid", thread)
        .header("x-flowai-secret", secret)
        .header("content-type", "application/json")
}

pub fn endpoint(reply: &HttpReply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["status"], "ok");
    let endpoint = reply.json()["payload"]["endpoint"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(endpoint.starts_with("ws://127.0.0.1:"), "{endpoint}");
    endpoint
}

pub async fn open(endpoint: &str) -> Ws {
    Ws::try_connect(endpoint, &[]).await.unwrap()
}

/// A socket that is in no thread yet.
pub async fn connect(daemon: &Daemon, client: &str) -> Ws {
    open(&endpoint(&info(daemon, client).await)).await
}

/// A socket that is in a thread.
pub async fn connect_to(daemon: &Daemon, client: &str, thread: &str) -> Ws {
    open(&endpoint(&info_of(daemon, client, thread, "null").await)).await
}

pub fn send(thread: &str, speech: &str) -> String {
    let payload = json!({
        "threadId": thread, "speech": speech, "traceId": 1519091841664_u64,
        "originator": {"name": "Jane", "role": "external", "profile": {}},
    });
    json!({"type": "message.send", "payload": payload}).to_string()
}

pub fn text(frame: &Value) -> String {
    assert_eq!(frame["type"], "message.received", "{frame}");
    let response = &frame["payload"]["messages"][0]["responses"][0];
    response["payload"]["text"].as_str().unwrap().to_owned()
}

/// Says something and hears the answer.
pub async fn ask(socket: &mut Ws, thread: &str, speech: &str) -> Value {
    socket.send(send(thread, speech)).await;
    let delivered = socket.next().await;
    assert_eq!(delivered["type"], "message.delivered", "{delivered}");
    assert_eq!(delivered["payload"]["threadId"], thread);
    socket.next().await
}

#[tokio::test]
async fn requests_that_name_nobody_get_no_socket() {
    let daemon = setup("").start().await;
    let nobody = Http::new(daemon.address);
    for (path, status, says) in [
        ("/flow/socket.info", 400, "clientId is missing"),
        (
            "/flow/socket.info?clientId=null&sessionId=1",
            400,
            "clientId is missing",
        ),
        (
            "/flow/socket.info?clientId=first",
            400,
            "sessionId is missing",
        ),
        (
            "/flow/socket.info?clientId=third&sessionId=1",
            400,
            "Invalid clientId",
        ),
        (
            "/flow/socket.info?clientId=first&sessionId=1&threadId=x%7Csecond",
            403,
            "another client",
        ),
        (
            "/flow/thread.history?clientId=first",
            400,
            "threadId is missing",
        ),
        ("/flow/thread.elsewhere", 404, "nothing of Flow"),
        ("/flow/", 404, "nothing of Flow"),
        ("/flow/thread.merger", 501, "does not merge"),
    ] {
        let reply = nobody.get(path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert_eq!(reply.json()["status"], "error");
        let message = reply.json()["payload"]["message"].clone();
        assert!(
            message.as_str().unwrap().contains(says),
            "{path}: {message}"
        );
    }
    let posted = nobody.send("POST", "/flow/socket.info", b"").await;
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, Some("GET, POST, OPTIONS"))
    );
    let strange = b"GET /flow/socket.info?clientId=first&sessionId=1 HTTP/1.1\r\nhost: a@b\r\nconnection: close\r\n\r\n";
    let strange = HttpReply::parse(&nobody.raw(strange).await);
    assert_eq!(strange.status, 400);
}

#[tokio::test]
async fn an_endpoint_is_good_once() {
    let daemon = setup("").start().await;
    let endpoint = endpoint(&info(&daemon, "first").await);
    let ticket = endpoint.rsplit_once('/').unwrap().1.to_owned();
    let (made_up, none) = (format!("{endpoint}x"), daemon.ws_url("/flow"));
    assert_eq!(Ws::try_connect(&made_up, &[]).await.err(), Some(401));
    assert_eq!(Ws::try_connect(&none, &[]).await.err(), Some(404));
    let mut socket = open(&endpoint).await;
    assert_eq!(Ws::try_connect(&endpoint, &[]).await.err(), Some(401));
    socket.send(r#"{"type":"ping"}"#).await;
    assert_eq!(socket.next().await, json!({"type": "pong"}));
    assert!(!daemon.log().contains(&ticket));
}

#[tokio::test]
async fn broken_frames_are_answered_and_the_socket_lives() {
    let daemon = setup("").start().await;
    let mut socket = connect(&daemon, "first").await;
    for (frame, says) in [
        ("{", "Invalid message format"),
        ("[]", "Invalid message format"),
        (r#"{"type":"message.send"}"#, "Invalid message format"),
        (
            r#"{"type":"message.send","payload":{"speech":"hi"}}"#,
            "threadId is missing",
        ),
        (r#"{"type":"dance","payload":{}}"#, "Unknown message type"),
        (
            r#"{"type":"thread.noticed","payload":{"threadId":""}}"#,
            "1 to 255 bytes",
        ),
        // A lone surrogate is no text, and a number beyond all bounds no number.
        (
            r#"{"type":"message.send","payload":{"threadId":"t","speech":"\ud800"}}"#,
            "Invalid message",
        ),
        (
            r#"{"type":"message.send","payload":{"threadId":"t","speech":"","x":1e999}}"#,
            "Invalid message",
        ),
    ] {
        socket.send(frame).await;
        let said = socket.next().await;
        assert_eq!(said["type"], "error", "{frame}");
        assert!(
            said["message"].as_str().unwrap().contains(says),
            "{frame}: {said}"
        );
        assert_eq!(said.get("payload"), None);
    }
    for quiet in [
        r#"{"type":"activity.user.typing","payload":{"clientId":"first","threadId":"t","originator":{}}}"#,
        r#"{"type":"log","payload":{"text":"x"}}"#,
        r#"{"type":"thread.noticed","payload":{"threadId":"t"}}"#,
    ] {
        socket.send(quiet).await;
    }
    assert_eq!(text(&ask(&mut socket, "t", "hi").await), "you said hi");
    socket.send(send("t", &"x".repeat(300 * 1024))).await;
    assert_eq!(socket.close_code().await, 1009);
}

#[tokio::test]
async fn messages_are_delivered_at_once_and_answered() {
    let daemon = setup("").start().await;
    let mut socket = connect(&daemon, "first").await;
    socket.send(send("jane.doe", "hi")).await;
    assert_eq!(
        socket.next().await,
        json!({"type": "message.delivered", "payload": {
            "threadId": "jane.doe", "speech": "hi", "traceId": 1519091841664_u64, "metadata": {},
            "originator": {"name": "Jane", "role": "external", "profile": {}},
        }})
    );
    let reply = socket.next().await;
    assert_eq!(text(&reply), "you said hi");
    assert_eq!(reply["payload"]["threadId"], "jane.doe");
    assert_eq!(reply["payload"]["traceId"], 1519091841664_u64);
    assert_eq!(reply["payload"]["originator"]["role"], "bot");
    let card = ask(&mut socket, "jane.doe", "card").await;
    assert_eq!(
        card["payload"]["messages"][0]["responses"][0]["type"],
        "card"
    );
    let failed = ask(&mut socket, "jane.doe", "fail").await;
    assert_eq!(failed["type"], "error");
    assert!(failed["message"].as_str().unwrap().contains("on purpose"));
    let params: Value =
        serde_json::from_str(&text(&ask(&mut socket, "other|first", "params").await)).unwrap();
    assert_eq!(params["clientId"], "first");
    assert_eq!(params["threadId"], "other|first");
    socket.send(send("jane.doe", "nothing")).await;
    assert_eq!(socket.next().await["type"], "message.delivered");
    assert!(socket.is_quiet(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_client_without_grants_is_told_so() {
    let daemon = setup("")
        .config("[[listen.endpoint]]\npath = \"/poor\"\ndialect = \"flow\"\nclients = [{ id = \"p\", token = \"powerless\" }]\n")
        .start()
        .await;
    let path = "/poor/socket.info/?clientId=p&sessionId=1";
    let mut socket = open(&endpoint(&Http::new(daemon.address).get(path).await)).await;
    socket.send(send("t", "hi")).await;
    let said = socket.next().await;
    assert_eq!(said["type"], "error");
    assert!(
        said["message"].as_str().unwrap().contains("subscribe"),
        "{said}"
    );
}

#[tokio::test]
async fn silence_ends_a_socket_and_any_message_breaks_it() {
    let daemon = setup("idle = \"1s\"").start().await;
    let mut socket = connect(&daemon, "first").await;
    let begun = std::time::Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        socket.send(r#"{"type":"ping"}"#).await;
        assert_eq!(socket.next().await["type"], "pong");
    }
    assert!(begun.elapsed() > Duration::from_millis(1500));
    // Any reason but `connection failed` lets the SDK connect again.
    assert_eq!(socket.close_code().await, 1000);
    let silent = r#"callway_limit_reached_total{limit="silence"}"#;
    assert_eq!(daemon.metric(silent).await, 1.0);
}

#[tokio::test]
async fn a_reply_is_in_the_thread_also_if_its_asker_has_left() {
    let daemon = setup("").start().await;
    let mut socket = connect_to(&daemon, "first", "t").await;
    socket.send(send("t", "slow")).await;
    assert_eq!(socket.next().await["type"], "message.delivered");
    socket.close().await;
    let history = async || {
        let reply = sdk(&daemon, "first", "t", "null")
            .get("/flow/thread.history")
            .await;
        reply.json()["payload"].as_array().unwrap().len()
    };
    crate::eventually!(history().await == 2);
}

/// What the tester publishes to a channel by HTTP.
pub async fn publish(daemon: &Daemon, channel: &str, payload: &Value) {
    let path = format!("/api/channels/{channel}");
    let reply = daemon.http().post(&path, payload).await;
    assert!(matches!(reply.status, 202 | 204), "{}", reply.text());
}

/// A token that may do everything, without a scheme, as the REST API wants it.
pub fn back_end(daemon: &Daemon, token: &str) -> Http {
    Http::new(daemon.address).header("authorization", token)
}

/// The tester's, who may do everything.
pub fn all_powerful(daemon: &Daemon) -> Http {
    back_end(daemon, TOKEN)
}

/// Longer than anything that a test waits for to not happen.
pub const SOON: Duration = Duration::from_millis(PATIENCE.as_millis() as u64 / 80);

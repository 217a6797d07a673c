//! The HTTP form that SDKs use: sockets in three styles, history, what was missed, files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{KEY, ask, connect_to, endpoint, info, info_of, open, publish, sdk, send, setup, text};
use crate::support::{Daemon, Http, HttpReply, Setup, free_port};

const FORM: &str = "multipart/form-data; boundary=----x";

fn form(file: &[u8], payload: &str) -> Vec<u8> {
    [
        b"------x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n",
        file,
        b"\r\n------x\r\nContent-Disposition: form-data; name=\"payload\"\r\n\r\n",
        payload.as_bytes(),
        b"\r\n------x--\r\n",
    ]
    .concat()
}

async fn upload(daemon: &Daemon, file: &[u8], payload: &str) -> HttpReply {
    let http = Http::new(daemon.address).header("content-type", FORM);
    http.send("POST", "/flow/thread.upload", &form(file, payload))
        .await
}

#[tokio::test]
async fn files_that_cannot_be_taken_are_refused() {
    let daemon = setup("").start().await;
    let whole = json!({"threadId": "t", "clientId": "first"}).to_string();
    for (file, payload, status) in [
        (&b"x"[..], "{", 400),
        (b"x", r#"{"threadId":"t"}"#, 400),
        (b"x", r#"{"threadId":"t","clientId":"third"}"#, 400),
        (b"x", r#"{"clientId":"first"}"#, 400),
        (b"x", r#"{"threadId":"t|second","clientId":"first"}"#, 403),
        (&[7; 220 * 1024], &whole, 413),
        (&[7; 300 * 1024], &whole, 413),
    ] {
        let refused = upload(&daemon, file, payload).await;
        assert_eq!(refused.status, status, "{payload}: {}", refused.text());
        assert_eq!(refused.json()["status"], "error");
    }
    let no_form = Http::new(daemon.address).header("content-type", "application/json");
    let refused = no_form.send("POST", "/flow/thread.upload", b"{}").await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn a_file_reaches_the_method_and_is_not_kept() {
    let daemon = setup("").start().await;
    let mut socket = connect_to(&daemon, "first", "t").await;
    ask(&mut socket, "t", "hi").await;
    let payload = json!({"threadId": "t", "clientId": "first", "speech": "params"});
    let taken = upload(&daemon, b"\x89PNG\r\n\0", &payload.to_string()).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let kept = json!({"name": "a.png", "contentType": "image/png", "size": 7});
    assert_eq!(
        taken.json()["payload"]["attachment"],
        json!({"type": "file", "payload": kept})
    );
    let params: Value = serde_json::from_str(&text(&socket.next().await)).unwrap();
    assert_eq!(
        params["attachment"]["payload"]["content"],
        BASE64.encode(b"\x89PNG\r\n\0")
    );
    let history = sdk(&daemon, "first", "t", "null")
        .get("/flow/thread.history")
        .await;
    let uploaded = &history.json()["payload"][2]["messages"][0]["attachment"];
    assert_eq!(uploaded["payload"], kept);
}

#[tokio::test]
async fn a_socket_is_asked_for_in_three_ways() {
    let daemon = setup("").start().await;
    let nobody = Http::new(daemon.address);
    let swift = nobody.clone().header("authorization", "Bearer first");
    let inside = BASE64.encode("74d41f0a|first");
    for reply in [
        info(&daemon, "first").await,
        info_of(&daemon, "first", "t|first", "null").await,
        info_of(&daemon, &inside, "t|first", "undefined").await,
        nobody
            .get("/flow/socket.info/?clientId=first&sessionId=1234")
            .await,
        swift
            .get("/flow/socket.info/?clientId=first&sessionId=1234&threadId=t")
            .await,
        // The Swift example of the documents: both ways at once, each with a session of its own.
        sdk(&daemon, "first", "t|first", "SECRET")
            .header("x-flowai-sessionid", "unique")
            .get("/flow/socket.info/?clientId=first&sessionId=1234")
            .await,
    ] {
        let mut socket = open(&endpoint(&reply)).await;
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(
            text(&ask(&mut socket, "t|first", "hi").await),
            "you said hi"
        );
    }
}

#[tokio::test]
async fn pages_may_ask_from_anywhere() {
    let daemon = setup("").start().await;
    let page = Http::new(daemon.address).header("origin", "https://shop.example.com");
    let asked = page
        .clone()
        .header("access-control-request-method", "GET")
        .header(
            "access-control-request-headers",
            "x-flowai-clientid,x-flowai-secret",
        );
    let allowed = asked.send("OPTIONS", "/flow/socket.info", b"").await;
    assert_eq!(allowed.status, 204);
    let fields = allowed
        .headers
        .iter()
        .filter(|(name, _)| name == "access-control-allow-headers");
    let fields: Vec<_> = fields.map(|(_, value)| value.as_str()).collect();
    assert!(fields.join(",").contains("x-flowai-clientid"), "{fields:?}");
    for path in [
        "/flow/socket.info?clientId=first&sessionId=1",
        "/flow/socket.info",
    ] {
        let reply = page.get(path).await;
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some("*"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_public_url_is_what_clients_are_told() {
    let port = free_port();
    let daemon = Setup::new()
        .config(&format!(
            r#"
            [[listen]]
            address = "127.0.0.1:{port}"
            public_url = "https://api.example.com/gw/"
            [[listen.endpoint]]
            path = "/flow"
            dialect = "flow"
            clients = [{{ id = "first", token = "tester" }}]
            [[channel]]
            name = "flow/{{threadId}}"
            "#,
        ))
        .start()
        .await;
    let http = Http::new(([127, 0, 0, 1], port).into());
    let reply = http
        .get("/flow/socket.info?clientId=first&sessionId=1")
        .await;
    drop(daemon);
    let endpoint = reply.json()["payload"]["endpoint"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        endpoint.starts_with("wss://api.example.com/gw/flow/ws/"),
        "{endpoint}"
    );
}

#[tokio::test]
async fn history_and_what_was_missed_are_the_threads_own() {
    let daemon = setup("").start().await;
    let get = async |client: &str, path: &str| {
        let reply = sdk(&daemon, client, "jane.doe", "null")
            .get(&format!("/flow/{path}"))
            .await;
        (reply.status, reply.json()["payload"].clone())
    };
    assert_eq!(get("first", "thread.history").await, (200, json!([])));
    assert_eq!(
        get("first", "thread.unnoticed").await,
        (200, json!({"unnoticed": false}))
    );
    let mut socket = connect_to(&daemon, "first", "jane.doe").await;
    ask(&mut socket, "jane.doe", "hi").await;
    let (_, history) = get("first", "thread.history").await;
    let said = |index: usize| history[index]["messages"][0]["fallback"].clone();
    assert_eq!((said(0), said(1)), (json!("hi"), json!("you said hi")));
    assert_eq!(history[0]["originator"]["name"], "Jane");
    assert_eq!(history[1]["originator"]["role"], "bot");
    assert_eq!(
        get("second", "thread.history").await.0,
        403,
        "another client's"
    );
    assert_eq!(get("second", "thread.unnoticed").await.0, 403);

    assert_eq!(get("first", "thread.unnoticed").await.1["unnoticed"], true);
    let noticed = json!({"type": "thread.noticed", "payload": {"threadId": "jane.doe"}});
    socket.send(noticed.to_string()).await;
    let unnoticed = async || get("first", "thread.unnoticed").await.1["unnoticed"] == true;
    crate::eventually!(!unnoticed().await);
    socket.close().await;
    publish(&daemon, "flow/jane.doe", &json!("while you were away")).await;
    assert!(unnoticed().await);
    // A client that says nothing may have looked all the same.
    let mut silent = super::connect(&daemon, "first").await;
    silent.send(noticed.to_string()).await;
    crate::eventually!(!unnoticed().await);

    let mut other = super::connect(&daemon, "second").await;
    other.send(send("jane.doe", "let me in")).await;
    let refused = other.next().await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("another client"),
        "{refused}"
    );
    assert!(!daemon.log().contains(KEY));
}

//! The door for WebSockets: who gets in, who is turned away, and who is cut off.

mod bounds;
mod tls;

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Daemon, HttpReply, PATIENCE, POWERLESS, Setup, TOKEN, Ws, free_port};

/// The header fields of a handshake, with the key of the example in RFC 6455 §1.3.
const HANDSHAKE: &str = "connection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// base64 as it comes: with `+`, `/` and `=`.
const ROUGH: &str = "Zm9v+/8=";

async fn daemon() -> Daemon {
    let row = format!(
        "[[token]]\nname = \"rough\"\nsha256 = \"{}\"\n",
        callway::auth::digest(ROUGH)
    );
    Setup::new().config(&row).start().await
}

/// A WebSocket of which the test reads and writes the bytes itself, and the response's head.
async fn upgrade(
    address: SocketAddr,
    path: &str,
    fields: &[(&str, &str)],
) -> (TcpStream, HttpReply) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{HANDSHAKE}");
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    (stream, HttpReply::parse(&head))
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await;
    read.expect("the handshake is not answered");
    head
}

/// Who is let in to `/rpc` with this path, query and header fields; the status otherwise.
async fn who(daemon: &Daemon, path: &str, fields: &[(&'static str, &str)]) -> Result<String, u16> {
    let mut client = Ws::try_connect(&daemon.ws_url(path), fields).await?;
    let whoami = client.call("callway.whoami", json!({})).await.unwrap();
    Ok(whoami["caller"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn who_proves_nothing_is_refused_before_the_upgrade() {
    let daemon = daemon().await;
    let bearer = format!("Bearer {TOKEN}");
    let authorization = ("authorization", bearer.as_str());
    let other = format!("/rpc?token={POWERLESS}");
    for (path, fields) in [
        ("/rpc", &[][..]),
        ("/rpc/unknown", &[]),
        ("/rpc?token=unknown", &[]),
        ("/rpc", &[("authorization", "Bearer unknown")]),
        (&other, &[authorization]),
        ("/rpc/unknown", &[authorization]),
    ] {
        assert_eq!(
            who(&daemon, path, fields).await,
            Err(401),
            "{path} {fields:?}"
        );
    }
    let (_, refused) = upgrade(daemon.address, "/rpc", &[]).await;
    assert!(
        refused
            .header("www-authenticate")
            .unwrap()
            .starts_with("Bearer")
    );
    assert!(
        !daemon.log().contains("unknown"),
        "a refused token is not logged"
    );
}

#[tokio::test]
async fn a_token_is_taken_from_every_place() {
    let daemon = daemon().await;
    for path in [
        "/rpc/Zm9v+/8=",
        "/rpc//Zm9v+/8=",
        "/rpc/Zm9v%2B%2F8%3D",
        "/rpc?token=Zm9v%2B/8=",
        "/rpc?auth_token=Zm9v+/8=",
    ] {
        assert_eq!(
            who(&daemon, path, &[]).await.as_deref(),
            Ok("rough"),
            "{path}"
        );
    }
    for bearer in ["Bearer Zm9v+/8=", "bearer Zm9v+/8="] {
        let fields = [("authorization", bearer)];
        assert_eq!(who(&daemon, "/rpc", &fields).await.as_deref(), Ok("rough"));
        let same = who(&daemon, "/rpc/Zm9v+/8=", &fields).await;
        assert_eq!(same.as_deref(), Ok("rough"), "twice the same is one");
    }
    assert!(!daemon.log().contains("Zm9v"), "no token is logged");
}

#[tokio::test]
async fn of_the_subprotocols_only_the_first_is_echoed() {
    let daemon = daemon().await;
    let bearer = format!("base64url.bearer.{}", URL_SAFE_NO_PAD.encode(ROUGH));
    let offer = format!("callway.jsonrpc, {bearer}");
    let offer = ("sec-websocket-protocol", offer.as_str());
    let (_, opened) = upgrade(daemon.address, "/rpc", &[offer]).await;
    assert_eq!(opened.status, 101);
    assert_eq!(
        opened.header("sec-websocket-protocol"),
        Some("callway.jsonrpc")
    );
    assert_eq!(
        opened.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "the example of RFC 6455 §1.3"
    );
    let offer = ("sec-websocket-protocol", bearer.as_str());
    let (_, opened) = upgrade(daemon.address, "/rpc", &[offer]).await;
    assert_eq!(
        (opened.status, opened.header("sec-websocket-protocol")),
        (101, None)
    );
}

#[tokio::test]
async fn what_is_no_handshake_is_told_so() {
    let daemon = daemon().await;
    let plain = daemon.http().get("/rpc").await;
    assert_eq!(
        (plain.status, plain.header("sec-websocket-version")),
        (426, Some("13"))
    );
    let upgrade = || daemon.http().header("upgrade", "websocket");
    let good = || upgrade().header("connection", "upgrade");
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for (request, status) in [
        (upgrade().header("connection", "close"), 400),
        (good(), 426),
        (good().header("sec-websocket-version", "8"), 426),
        (good().header("sec-websocket-version", "13"), 400),
        (
            good()
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "short"),
            400,
        ),
    ] {
        assert_eq!(request.get("/rpc").await.status, status);
    }
    let post = good()
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", key);
    assert_eq!(post.send("POST", "/rpc", b"").await.status, 400);
}

#[tokio::test]
async fn pages_of_other_origins_are_refused_before_the_upgrade() {
    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!(
        r#"
        [[listen]]
        address = "{address}"
        allowed_origins = ["https://app.example.com"]
        [[listen.endpoint]]
        path = "/rpc"
        dialect = "jsonrpc"
        "#
    );
    let _daemon = Setup::new().config(&listen).start().await;
    let from = async |origin| {
        let url = format!("ws://{address}/rpc/{TOKEN}");
        let opened = Ws::try_connect(&url, &[("origin", origin)]).await;
        opened.map(|_| ())
    };
    assert_eq!(from("https://app.example.com").await, Ok(()));
    for origin in [
        "null",
        "https://app.example.com.evil.net",
        "https://evil-app.example.com",
        "http://app.example.com",
        "https://APP.example.com",
        "https://app.example.com:443",
        "https://app.example.com.",
    ] {
        assert_eq!(from(origin).await, Err(403), "{origin}");
    }
}

//! A credential goes in at every place that takes one, at the chattiest log level, and must come
//! out nowhere.

use serde_json::json;
use tokio::process::Command;

use crate::eventually;
use crate::support::caller::{self, BUSES};
use crate::support::{Amqp, Http, Message, Mosquitto, Mqtt, Rabbit, Setup, Version, Ws, headers};

/// Appears in every credential of this test, in a form that no encoding of the test changes.
const CANARY: &str = "canary7Qx";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credential_shows_anywhere() {
    let good = format!("cw_good-{CANARY}");
    let bad = format!("cw_bad-{CANARY}");
    let password = format!("password-{CANARY}");
    let (mosquitto, rabbit) = tokio::join!(
        Mosquitto::start_with_login("callway", &password),
        Rabbit::shared()
    );
    let login = format!("mqtt://callway:{password}@127.0.0.1");
    let buses = caller::buses(&mosquitto, &rabbit).replace("mqtt://127.0.0.1", &login);
    let config = format!(
        r#"
        [[token]]
        name = "canary"
        sha256 = "{}"
        call = ["{{path...}}"]
        [[route]]
        method = "echo"
        script = "echo.js"
        [bus.wrong]
        url = "amqp://guest:{password}@127.0.0.1:{}"
        "#,
        callway::auth::digest(&good),
        rabbit.port,
    );
    let setup = Setup::new()
        .config(&buses)
        .config(&config)
        .script("echo.js", "return request.headers;")
        .script("relay.js", caller::RELAY_JS)
        .script("relay.lua", caller::RELAY_LUA)
        .env("RUST_LOG", "trace")
        .env("CALLWAY__LOG__LEVEL", "trace");
    let mut daemon = setup.start().await;
    for bus in BUSES {
        daemon.link_is(bus, "up").await;
    }
    // What clients get to see; the test itself sees to it that nothing in here is a credential.
    let mut shown = String::new();

    let made = daemon.token("made", &["--call", "{path...}"]).await;
    for token in [&good, &bad, &made] {
        for url in [
            daemon.ws_url(&format!("/rpc?token={token}")),
            daemon.ws_url(&format!("/rpc?auth_token={token}")),
            daemon.ws_url(&format!("/rpc/{token}")),
            daemon.ws_url(&format!("//{token}")),
        ] {
            if let Ok(mut socket) = Ws::try_connect(&url, &[]).await {
                socket
                    .send(r#"{"method":"echo","params":{},"id":1,"jsonrpc":"2.0"}"#)
                    .await;
                if token != &bad {
                    shown.push_str(&socket.next().await.to_string());
                }
            }
        }
        let protocols = format!("callway.jsonrpc, base64url.bearer.{}", base64(token));
        // Refused or not, it must not show.
        Ws::try_connect(
            &daemon.ws_url("/rpc"),
            &[("sec-websocket-protocol", &protocols)],
        )
        .await
        .ok();
        for reply in [
            Http::new(daemon.address)
                .bearer(token)
                .post("/api/echo", &json!({}))
                .await,
            Http::new(daemon.address)
                .bearer(token)
                .post("/echo", &json!({}))
                .await,
            Http::new(daemon.address)
                .post(&format!("/api/echo?token={token}"), &json!({}))
                .await,
            Http::new(daemon.address)
                .post(&format!("/echo?auth_token={token}"), &json!({}))
                .await,
            Http::new(daemon.address)
                .get(&format!("/nowhere?token={token}"))
                .await,
            Http::new(daemon.admin).bearer(token).get("/metrics").await,
            Http::new(daemon.admin)
                .bearer(token)
                .get("/api/anything")
                .await,
        ] {
            shown.push_str(&format!("{:?}", reply.headers));
            shown.push_str(&String::from_utf8_lossy(&reply.body));
        }
        let mut device = Mqtt::try_connect(
            mosquitto.port,
            Version::V5,
            Some(("callway", password.as_str())),
        )
        .await
        .unwrap();
        device.subscribe("reply/secrets").await;
        let request = Message::new("callway5/call/echo", "{}")
            .reply_to("reply/secrets", "1")
            .user("token", token);
        device.publish(&request).await.unwrap();
        shown.push_str(&format!("{:?}", device.next().await));
        let envelope =
            json!({"method": "echo", "id": 1, "token": token, "reply_to": "reply/secrets"});
        device
            .publish(&Message::new("callway4/call", envelope.to_string()))
            .await
            .unwrap();
        shown.push_str(&format!("{:?}", device.next().await));
        let mut client = Amqp::connect(&rabbit.url()).await;
        shown.push_str(&format!(
            "{:?}",
            client.call("callway.calls", "echo", token, b"{}").await
        ));
        // No method: becomes poison, with the token in its headers.
        let poison = lapin::BasicProperties::default().with_headers(headers(&[("token", token)]));
        client.publish("", "callway.calls", b"{}", poison).await;

        let call = Command::new(env!("CARGO_BIN_EXE_callway"))
            .args([
                "call",
                "echo",
                "{}",
                "--via",
                &format!("ws://{}/rpc", daemon.address),
            ])
            .env("CALLWAY_TOKEN", token)
            .env("RUST_LOG", "trace")
            .output();
        let output = call.await.unwrap();
        shown.push_str(&String::from_utf8_lossy(&output.stdout));
        shown.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    eventually!(daemon.log().contains("wrong"));
    assert!(daemon.log().len() > 1000, "the log is on");
    shown.push_str(&daemon.admin().get("/metrics").await.text());
    assert_eq!(daemon.stop().await, 0);
    let kept = all_files(&daemon.directory.path().join("state"));
    assert!(kept.contains(&callway::auth::digest(&made).to_string()));

    let encoded = [base64(&good), base64(&bad), base64(&made), hex(CANARY)];
    for encoded in encoded.into_iter().chain([CANARY.to_owned(), made]) {
        let places = [
            ("the log", &daemon.log()),
            ("what clients see", &shown),
            ("the state directory", &kept),
        ];
        for (place, text) in places {
            let at = text.find(&encoded);
            let around = at.map(|at| &text[at.saturating_sub(200)..(at + 50).min(text.len())]);
            assert_eq!(around, None, "{place} holds a credential");
        }
    }
}

/// All that is kept there, as far as it is text.
fn all_files(directory: &std::path::Path) -> String {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| match path.is_dir() {
            true => all_files(&path),
            false => String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned(),
        })
        .collect()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn errors_in_the_configuration_show_no_credential() {
    let broken = format!(
        r#"
        [bus.field]
        url = "mqtt://callway:{CANARY}@127.0.0.1:99999"
        passwort = "{CANARY}"
        [bus.office]
        url = "amqp//guest:{CANARY}@127.0.0.1"
        password = 7 # {CANARY}
        [[token]]
        name = "greenhouse"
        sha256 = "cw_{CANARY}"
        "#
    );
    for more in ["", "password = \"unfinished"] {
        let mut daemon = Setup::new().config(&broken).config(more).spawn();
        assert_eq!(daemon.ended().await.code(), Some(78));
        let log = daemon.log();
        assert!(log.contains("in the configuration"), "{log}");
        assert!(!log.contains(CANARY), "{log}");
    }
}

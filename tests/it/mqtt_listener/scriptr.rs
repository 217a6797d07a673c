//! A device of scriptr.io against an MQTT endpoint with its account: nothing but the address and
//! the password are new.

use serde_json::json;

use super::{BOTH, DEVICE, Device, Hello, World};
use crate::foreign::Client;
use crate::support::{Daemon, Setup, Version, free_port};

const ROWS: &str = r#"
    [[channel]]
    name = "news"
    [[channel]]
    name = "secret"
    [[route]]
    method = "greet"
    script = "greet.js"
    [[token]]
    name = "device"
    call = ["greet"]
    publish = ["news"]
    subscribe = ["news"]
"#;

async fn world() -> World {
    let port = free_port();
    let digest = callway::auth::digest(DEVICE);
    let config = format!(
        r#"
        [[listen]]
        address = "127.0.0.1:{port}"
        [[listen.endpoint]]
        dialect = "mqtt"
        scriptr = "acme"
        {ROWS}
        sha256 = "{digest}"
        "#
    );
    let greet = r#"return "hello " + request.parameters.name;"#;
    let daemon: Daemon = Setup::new()
        .config(&config)
        .script("greet.js", greet)
        .start()
        .await;
    World { daemon, port }
}

fn hello(version: Version, client: &str) -> Hello {
    Hello {
        password: Some(DEVICE.to_owned()),
        ..Hello::new(version, client)
    }
}

#[tokio::test]
async fn what_is_no_channel_or_not_permitted_reaches_nobody() {
    let world = world().await;
    for version in BOTH {
        let mut tester = world.device(version, "tester").await;
        tester.subscribe("#", 0).await;
        let (mut device, _) = Device::connect(world.port, &hello(version, "d")).await;
        assert!(device.subscribe("acme/secret/message", 0).await >= 0x80);
        for (topic, payload) in [
            ("acme/secret/message", "not permitted"),
            ("acme/missing/message", "no channel"),
            ("acme/news/other", "no address"),
            (
                "acme",
                r#"{"method":"Publish","params":{"channel":"secret","message":"no"}}"#,
            ),
            (
                "acme/missing/invoke",
                r#"{"method":"greet","params":{"name":"x"}}"#,
            ),
            ("acme/news/invoke", "not json"),
            ("acme", "{"),
        ] {
            let reason = device.publish(topic, payload, 1, false).await;
            // MQTT 3.1.1 cannot say why.
            assert_eq!(reason >= 0x80, version == Version::V5, "{topic} {payload}");
        }
        // The first thing that is heard is the first that may be.
        device
            .publish("acme/news/message", "at last", 1, false)
            .await;
        assert_eq!(tester.hears().await.1, "at last");
    }
    let called = r#"callway_calls_total{via="mqtt",target="js",outcome="ok"}"#;
    assert_eq!(world.daemon.metric(called).await, 0.0);
}

#[tokio::test]
async fn paho_publishes_listens_and_invokes_as_it_did() {
    let world = world().await;
    let mut socket = world.device(Version::V5, "elsewhere").await;
    socket.subscribe("news", 0).await;
    for version in [4, 5] {
        let reply_topic = format!("callway/reply/{version}");
        let task = json!({
            "version": version, "account": "acme", "channel": "news", "method": "/greet",
            "port": world.port, "token": DEVICE, "reply_topic": reply_topic, "events": 2,
        });
        let mut device = Client::start("scriptr_paho.py", &task);
        assert_eq!(device.line().await, "ready");
        let said = device.finish().await;
        let reply = match version {
            4 => &said["reply"]["result"],
            _ => &said["reply"],
        };
        assert_eq!(reply, "hello paho", "{said}");
        let older = "{'from': 'an older device'}";
        assert_eq!(said["heard"], json!(["from paho", older]), "each once");
        // Under the name of the channel, for those who have subscribed that.
        for text in ["from paho", older] {
            let message = socket.next().await;
            assert_eq!(
                (&*message.topic, &*message.payload),
                ("news", text.as_bytes())
            );
        }
    }
}

#[tokio::test]
async fn an_account_shows_each_channel_at_its_address() {
    let world = world().await;
    for version in BOTH {
        let (mut device, _) = Device::connect(world.port, &hello(version, "d")).await;
        assert!(device.subscribe("acme/#", 1).await < 0x80);
        let mut tester = world.device(version, "tester").await;
        for (topic, payload) in [("secret", "not for devices"), ("news", "for all")] {
            tester.publish(topic, payload, 1, false).await;
        }
        let (topic, payload) = device.hears().await;
        assert_eq!((&*topic, &*payload), ("acme/news/message", "for all"));
        device.hears_nothing().await;
    }
}

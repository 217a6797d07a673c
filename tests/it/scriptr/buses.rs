//! scriptr's addresses on MQTT and AMQP buses, with clients that nobody wrote for callway.

use std::time::Duration;

use serde_json::{Value, json};

use super::greeted;
use crate::eventually;
use crate::foreign::Client;

use crate::support::{Daemon, Message, Mosquitto, Mqtt, POWERLESS, Rabbit, Setup, TOKEN, Version};

/// A daemon on both buses; `rows` are more tables.
async fn daemon(mosquitto: &Mosquitto, rabbit: &Rabbit, caller: &str, rows: &str) -> Daemon {
    let (mqtt, amqp) = (mosquitto.url(), rabbit.url());
    let config = format!(
        r#"
        [bus.field]
        url = "{mqtt}"
        scriptr = "acme"
        caller = "{caller}"
        [bus.office]
        url = "{amqp}"
        scriptr = "acme"
        caller = "{caller}"
        [[channel]]
        name = "news"
        [[channel]]
        name = "telemetry/{{device}}"
        [[route]]
        method = "greet"
        script = "greet.js"
        {rows}
        "#
    );
    let greet = r#"return "hello " + request.parameters.name;"#;
    let setup = Setup::new().config(&config).script("greet.js", greet);
    let daemon = setup.start().await;
    daemon.link_is("field", "up").await;
    daemon.link_is("office", "up").await;
    daemon
}

#[tokio::test]
async fn devices_and_services_share_a_channel_with_sockets() {
    let (mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
    let daemon = daemon(&mosquitto, &rabbit, "tester", "").await;
    let (mut socket, _) = greeted(&daemon, &format!("/{TOKEN}")).await;
    socket
        .send(r#"{"method":"Subscribe","params":{"channel":"news"}}"#)
        .await;
    assert_eq!(socket.next().await["status"], "success");

    let paho = |version: u8, events: usize| {
        let task = json!({
            "version": version, "account": "acme", "channel": "news", "method": "greet",
            "port": mosquitto.port, "reply_topic": format!("callway/reply/{version}"),
            "events": events,
        });
        Client::start("scriptr_paho.py", &task)
    };
    let heard = |said: &Value| said["heard"].clone();
    let older = "{'from': 'an older device'}";

    // MQTT 3.1.1: the reply's address stands in the body, so a JSON-RPC response goes there.
    let mut device = paho(4, 2);
    assert_eq!(device.line().await, "ready");
    let said = device.finish().await;
    assert_eq!(said["reply"]["result"], "hello paho", "{said}");
    assert_eq!(heard(&said), json!(["from paho", older]), "each once");
    for expected in ["from paho", older] {
        assert_eq!(socket.next_text().await, expected);
    }

    // MQTT 5 and AMQP meanwhile: each hears what the others say, and itself once.
    let mut device = paho(5, 3);
    assert_eq!(device.line().await, "ready");
    let task = json!({
        "url": rabbit.url(), "account": "acme", "channel": "news", "method": "/greet", "events": 1,
    });
    let mut service = Client::start("scriptr_pika.py", &task);
    assert_eq!(service.line().await, "ready");
    let said = service.finish().await;
    assert_eq!(said["reply"], "hello pika", "{said}");
    let said = device.finish().await;
    assert_eq!(said["reply"], "hello paho", "{said}");
    assert_eq!(heard(&said), json!(["from paho", "from pika", older]));
    let mut texts = Vec::new();
    for _ in 0..3 {
        texts.push(socket.next_text().await);
    }
    texts.sort();
    assert_eq!(texts, ["from paho", "from pika", older]);
}

#[tokio::test]
async fn what_is_no_call_or_not_permitted_reaches_nobody() {
    let (mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
    let daemon = daemon(&mosquitto, &rabbit, "powerless", "").await;
    let (mut socket, _) = greeted(&daemon, &format!("/{TOKEN}")).await;
    socket
        .send(r#"{"method":"Subscribe","params":{"channel":"news"}}"#)
        .await;
    socket.next().await;
    let mut device = Mqtt::connect(mosquitto.port, Version::V5).await;
    for (topic, payload) in [
        ("acme/news/message", "not permitted"),
        ("acme/missing/message", "no channel"),
        ("acme/news/other", "no address"),
        ("acme/news/invoke", "not json"),
        ("acme/news/invoke", r#"{"method":"greet"}"#),
        ("acme/missing/invoke", r#"{"method":"greet"}"#),
        (
            "acme",
            r#"{"method":"Publish","params":{"channel":"news","message":"no"}}"#,
        ),
        ("acme", "{"),
    ] {
        device.publish(&Message::new(topic, payload)).await;
    }
    let dropped = async |reason: &str| {
        let name = format!(r#"callway_dropped_total{{via="mqtt",reason="{reason}"}}"#);
        daemon.metric(&name).await
    };
    eventually!(dropped("no_event").await == 1.0);
    // What is no JSON: one to the channel, one to the account.
    eventually!(dropped("poison").await == 3.0);
    eventually!(dropped("not_subscribed").await == 3.0);
    assert_eq!(
        daemon
            .metric(r#"callway_calls_total{via="mqtt",target="js",outcome="ok"}"#)
            .await,
        0.0
    );

    // The channel leads nowhere either: its bus may not hear of it.
    device.subscribe("acme/#").await;
    socket
        .send(r#"{"method":"Publish","params":{"channel":"news","message":"only here"}}"#)
        .await;
    let mut frames = [socket.next_text().await, socket.next_text().await];
    frames.sort_by_key(|frame| frame.starts_with("{"));
    assert_eq!(frames[0], "only here", "{frames:?}");
    let heard = tokio::time::timeout(Duration::from_millis(300), device.next()).await;
    assert!(heard.is_err(), "{heard:?}");
    assert!(!daemon.log().contains(POWERLESS));
}

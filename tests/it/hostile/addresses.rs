//! Addresses on the buses: replies go only where they may, come only from where they are awaited,
//! and old messages run nothing.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use serde_json::json;

use super::World;
use crate::eventually;
use crate::support::{Amqp, Message, Mosquitto, Mqtt, Rabbit, TOKEN, Version, headers};

fn ran(via: &str) -> String {
    format!(r#"callway_calls_total{{via="{via}",target="js",outcome="ok"}}"#)
}

#[tokio::test]
async fn a_retained_call_is_not_run() {
    let (mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
    let mut device = Mqtt::connect(mosquitto.port, Version::V5).await;
    for topic in ["callway5/call/echo", "callway4/call/echo"] {
        let mut message = Message::new(topic, "{}").user("token", TOKEN);
        message.retain = true;
        message.qos = 1;
        device.publish(&message).await.unwrap();
    }
    let world = World::start_between(mosquitto, rabbit, "").await;
    for way in ["mqtt5", "mqtt4"] {
        let mut caller = world.caller(TOKEN, way).await;
        assert_eq!(caller.call("echo", &json!([way])).await, Ok(json!([way])));
    }
    assert_eq!(
        world.daemon.metric(&ran("mqtt")).await,
        2.0,
        "only the good ones ran"
    );
}

#[tokio::test]
async fn replies_go_only_where_they_may() {
    let world = World::start("").await;
    let mut device = Mqtt::connect(world.mosquitto.port, Version::V5).await;
    device.subscribe("elsewhere/#").await;
    let foreign = Message::new("callway5/call/echo", "{}")
        .reply_to("elsewhere/1", "1")
        .user("token", TOKEN);
    device.publish(&foreign).await.unwrap();
    let envelope = json!({"method": "echo", "id": 1, "token": TOKEN, "reply_to": "elsewhere/2"});
    let foreign = Message::new("callway4/call", envelope.to_string());
    device.publish(&foreign).await.unwrap();

    let client = Amqp::connect(&world.rabbit.url()).await;
    let victim = client
        .channel
        .queue_declare(
            "victim".into(),
            QueueDeclareOptions::default(),
            Default::default(),
        )
        .await
        .unwrap();
    let properties = BasicProperties::default()
        .with_headers(headers(&[("method", "echo"), ("token", TOKEN)]))
        .with_reply_to(victim.name().clone());
    client.publish("", "callway.calls", b"{}", properties).await;

    // Good calls after them show that the bad ones were dealt with.
    for way in ["mqtt5", "mqtt4", "amqp"] {
        let mut caller = world.caller(TOKEN, way).await;
        assert_eq!(caller.call("echo", &json!([1])).await, Ok(json!([1])));
    }
    assert_eq!(
        world.daemon.metric(&ran("mqtt")).await,
        2.0,
        "refused, not run"
    );
    assert_eq!(
        world.daemon.metric(&ran("amqp")).await,
        1.0,
        "refused, not run"
    );
    let got = client
        .channel
        .basic_get("victim".into(), BasicGetOptions { no_ack: true });
    assert!(got.await.unwrap().is_none(), "nothing was sent there");
    let silence = tokio::time::timeout(Duration::from_millis(200), device.recv()).await;
    assert!(silence.is_err(), "nothing was sent there");
}

#[tokio::test]
async fn a_guessed_reply_counts_for_nothing() {
    let world = World::start("").await;
    let mut device = Mqtt::connect(world.mosquitto.port, Version::V5).await;
    device.subscribe("devices/+/rpc").await;
    let mut socket = world.daemon.ws().await;
    let id = socket.request("topics/pump", json!({})).await;
    let request = device.next().await;
    let inbox = request.response_topic.unwrap();
    let correlation = request.correlation.unwrap();

    let mut guesser = Mqtt::connect(world.mosquitto.port, Version::V5).await;
    let (parent, _) = inbox.rsplit_once('/').unwrap();
    for (topic, correlation) in [
        (
            format!("{parent}/00000000000000000000000000000000"),
            correlation.clone(),
        ),
        (inbox.clone(), b"guess".to_vec()),
    ] {
        let mut forged = Message::new(&topic, r#""forged""#);
        forged.correlation = Some(correlation);
        forged.qos = 1;
        guesser.publish(&forged).await.unwrap();
    }
    let mut reply = Message::new(&inbox, r#""true""#);
    reply.correlation = Some(correlation);
    device.publish(&reply).await.unwrap();
    assert_eq!(socket.response(id).await["result"], "true");
    // And once more: a double.
    device.publish(&reply).await.unwrap();
    let mut next = world.caller(TOKEN, "mqtt5").await;
    assert_eq!(next.call("echo", &json!([1])).await, Ok(json!([1])));
    eventually!(dropped(&world).await >= 2.0);
}

async fn dropped(world: &World) -> f64 {
    let page = world.daemon.admin().get("/metrics").await;
    let text = String::from_utf8(page.body).unwrap();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("callway_dropped_total"));
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.sum()
}

#[tokio::test]
async fn a_consumer_survives_what_is_no_call() {
    let world = World::start("").await;
    let client = Amqp::connect(&world.rabbit.url()).await;
    for body in [
        &b""[..],
        b"\xff\xfe",
        b"[]",
        b"{\"params\":1}",
        b"{\"method\":7}",
    ] {
        client
            .publish("", "callway.calls", body, BasicProperties::default())
            .await;
    }
    let mut device = Mqtt::connect(world.mosquitto.port, Version::V5).await;
    for (topic, body) in [
        ("callway5/call", &b"\xff"[..]),
        ("callway5/call", b"[]"),
        ("callway5/call/", b"{}"),
        ("callway5/call/a//b", b"{}"),
        ("callway4/call", b"{\"method\":7}"),
        ("callway4/call", b""),
    ] {
        device.publish(&Message::new(topic, body)).await.unwrap();
    }
    for way in ["amqp", "mqtt5", "mqtt4"] {
        let mut caller = world.caller(TOKEN, way).await;
        assert_eq!(
            caller.call("echo", &json!([1])).await,
            Ok(json!([1])),
            "{way}"
        );
    }
}

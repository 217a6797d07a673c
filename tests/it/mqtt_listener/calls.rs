//! Calls of devices: the topic decides the shape, and the reply goes to nobody else.

use serde_json::json;

use super::{BOTH, DEVICE, Device, Hello, World};
use crate::eventually;
use crate::support::mqtt::{binary, string};
use crate::support::{Message, Version};

fn reply_to(topic: &str, correlation: &str) -> Vec<u8> {
    [
        vec![0x08],
        string(topic),
        vec![0x09],
        binary(correlation.as_bytes()),
    ]
    .concat()
}

async fn call(device: &mut Device, method: &str, params: &str, flags: u8) -> Message {
    let topic = format!("callway/call/{method}");
    let properties = reply_to("callway/reply/me", "c-1");
    let id = device
        .send_publish(&topic, params, flags, &properties)
        .await;
    match flags {
        2 => assert_eq!(device.acknowledged(0x40, id).await, 0),
        4 => {
            assert_eq!(device.acknowledged(0x50, id).await, 0);
            // Released after the reply has come, which may be any moment.
        }
        _ => {}
    }
    let reply = device.next().await;
    if flags == 4 {
        device.packet(0x62, &id.to_be_bytes()).await;
        device.acknowledged(0x70, id).await;
    }
    assert_eq!(reply.topic, "callway/reply/me");
    assert_eq!(reply.correlation.as_deref(), Some(&b"c-1"[..]));
    reply
}

#[tokio::test]
async fn a_call_is_answered_at_each_qos() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    assert_eq!(device.subscribe("callway/reply/me", 1).await, 1);
    for flags in [0, 2, 4] {
        let reply = call(&mut device, "greet", r#"{"name":"pump"}"#, flags).await;
        assert_eq!(reply.json(), json!("hello pump"));
        assert_eq!(reply.property("status"), Some("ok"));
        assert_eq!(reply.qos, (flags >> 1).min(1));
    }
}

#[tokio::test]
async fn the_envelope_does_for_mqtt_3() {
    let world = World::start().await;
    for version in BOTH {
        let mut device = world.device(version, "a").await;
        let body = json!({"method": "greet", "params": {"name": "pump"}, "id": 7,
            "reply_to": "callway/reply/me"});
        device
            .publish("callway/call", &body.to_string(), 1, false)
            .await;
        let reply = device.next().await;
        assert_eq!(
            reply.json(),
            json!({"jsonrpc": "2.0", "id": 7, "result": "hello pump"})
        );
    }
}

#[tokio::test]
async fn only_the_session_that_called_gets_the_reply() {
    let world = World::start().await;
    let mut nosy = world.device(Version::V5, "nosy").await;
    for filter in ["#", "callway/reply/#", "callway/reply/me"] {
        assert_eq!(nosy.subscribe(filter, 0).await, 0, "{filter}");
    }
    let mut device = world.device(Version::V5, "a").await;
    assert_eq!(
        call(&mut device, "greet", "{}", 2).await.property("status"),
        Some("ok")
    );
    nosy.hears_nothing().await;
    // Nor can anybody make up one.
    assert_eq!(
        device.publish("callway/reply/me", "forged", 1, false).await,
        0x90
    );
    nosy.hears_nothing().await;
}

#[tokio::test]
async fn a_call_that_fails_says_why() {
    let world = World::start().await;
    let mut hello = Hello::new(Version::V5, "a");
    hello.password = Some(DEVICE.to_owned());
    let (mut device, _) = Device::connect(world.port, &hello).await;
    let forbidden = call(&mut device, "devices/other/on", "{}", 2).await;
    assert_eq!(forbidden.property("status"), Some("forbidden"));
    assert_eq!(forbidden.json()["kind"], "forbidden");
    assert!(forbidden.json()["call_id"].is_string());
    let mut tester = world.device(Version::V5, "b").await;
    for (method, params, kind) in [
        ("nobody/knows/this", "{}", "method_not_found"),
        ("devices/x/on", "{}", "no_responder"),
        ("greet", "{\"broken", "parse_error"),
        ("greet/", "{}", "invalid_request"),
    ] {
        let reply = call(&mut tester, method, params, 2).await;
        assert_eq!(reply.property("status"), Some(kind), "{method}");
    }
}

#[tokio::test]
async fn a_call_without_reply_address_is_acknowledged_once_it_is_on_disk() {
    let world = World::start().await;
    for version in BOTH {
        let mut device = world.device(version, "a").await;
        assert_eq!(
            device
                .publish("callway/call/noted/it", "{}", 1, false)
                .await,
            0
        );
    }
    let accepted = r#"callway_calls_total{via="mqtt",target="worker",outcome="accepted"}"#;
    eventually!(world.daemon.metric(accepted).await == 2.0);
    let mut refused = Hello::new(Version::V5, "b");
    refused.password = Some(DEVICE.to_owned());
    let (mut refused, _) = Device::connect(world.port, &refused).await;
    assert_eq!(
        refused
            .publish("callway/call/noted/it", "{}", 1, false)
            .await,
        0x87
    );
}

#[tokio::test]
async fn a_call_carries_no_other_token_than_its_connection() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    let mut properties = reply_to("callway/reply/me", "c-1");
    properties.push(0x26);
    properties.extend([string("token"), string(DEVICE)].concat());
    device
        .send_publish("callway/call/greet", "{}", 0, &properties)
        .await;
    assert_eq!(
        device.next().await.property("status"),
        Some("unauthenticated")
    );
}

#[tokio::test]
async fn a_call_whose_reply_could_not_be_sent_is_not_carried_out() {
    let world = World::start().await;
    let long = "x".repeat(70_000);
    for address in ["a/#", "", "a\u{1}b", &long] {
        for version in BOTH {
            let mut device = world.device(version, "a").await;
            let body = json!({"method": "greet", "params": {}, "id": 7, "reply_to": address});
            let reason = device
                .publish("callway/call", &body.to_string(), 1, false)
                .await;
            let refused = if version == Version::V5 { 0x90 } else { 0 };
            assert_eq!(reason, refused);
            device.hears_nothing().await;
        }
    }
    let run = r#"callway_calls_total{via="mqtt",target="script",outcome="ok"}"#;
    assert_eq!(world.daemon.metric(run).await, 0.0);
}

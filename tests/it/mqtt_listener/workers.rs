//! Devices that answer calls, without a broker in between.

use serde_json::{Value, json};

use super::{BOTH, DEVICE, Device, Hello, World};
use crate::eventually;
use crate::support::mqtt::{binary, string};
use crate::support::{Message, Version};

/// Answers a call that was put to it.
async fn answer(device: &mut Device, asked: &Message, result: &Value, status: Option<&str>) {
    match device.version {
        Version::V5 => {
            let mut properties = vec![0x09];
            properties.extend(binary(asked.correlation.as_deref().unwrap()));
            if let Some(status) = status {
                properties.push(0x26);
                properties.extend([string("status"), string(status)].concat());
            }
            let topic = asked.response_topic.as_deref().unwrap();
            device
                .send_publish(topic, &result.to_string(), 0, &properties)
                .await;
        }
        Version::V4 => {
            let request = asked.json();
            let body = match status {
                None => json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
                Some(_) => {
                    let error = json!({"code": -32601, "message": "not me"});
                    json!({"jsonrpc": "2.0", "id": request["id"], "error": error})
                }
            };
            let topic = request["reply_to"].as_str().unwrap();
            device.send_publish(topic, &body.to_string(), 0, &[]).await;
        }
    }
}

#[tokio::test]
async fn a_device_behind_nat_is_callable() {
    let world = World::start().await;
    for version in BOTH {
        let mut hello = Hello::new(version, "bulb");
        hello.password = Some(DEVICE.to_owned());
        let (mut device, _) = Device::connect(world.port, &hello).await;
        let filter = "callway/serve/devices/device/+";
        assert_eq!(device.subscribe(filter, 1).await, 1);
        let mut socket = world.daemon.ws().await;
        let params = json!({"level": 7});
        let (reply, asked) =
            tokio::join!(socket.call("devices/device/dim", params.clone()), async {
                let asked = device.next().await;
                answer(&mut device, &asked, &json!("dimmed"), None).await;
                asked
            });
        assert_eq!(reply, Ok(json!("dimmed")));
        assert_eq!(asked.topic, "callway/serve/devices/device/dim");
        match version {
            Version::V5 => {
                assert_eq!(asked.json(), params);
                assert_eq!(asked.property("method"), Some("devices/device/dim"));
            }
            Version::V4 => assert_eq!(asked.json()["params"], params),
        }
        // It says "not me", and there is nobody else.
        let (reply, ()) = tokio::join!(socket.call("devices/device/on", json!({})), async {
            let asked = device.next().await;
            answer(&mut device, &asked, &json!({}), Some("method_not_found")).await;
        });
        assert_eq!(reply, Err("no_responder".into()));
        // An answer that nobody waits for.
        device.publish("callway/answer/12345", "{}", 1, false).await;
        // It goes away with a call in its hands.
        let (reply, ()) = tokio::join!(socket.call("devices/device/on", json!({})), async {
            device.next().await;
            drop(device);
        });
        assert_eq!(reply, Err("unavailable".into()));
        assert_eq!(
            socket.call("devices/device/on", json!({})).await,
            Err("no_responder".into())
        );
    }
    let late = r#"callway_dropped_total{via="mqtt",reason="late_reply"}"#;
    eventually!(world.daemon.metric(late).await == 2.0);
}

#[tokio::test]
async fn an_error_of_a_device_is_a_target_error() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "bulb").await;
    assert_eq!(device.subscribe("callway/serve/devices/#", 0).await, 0);
    let mut socket = world.daemon.ws().await;
    let (reply, ()) = tokio::join!(socket.call("devices/x/on", json!({})), async {
        let asked = device.next().await;
        answer(
            &mut device,
            &asked,
            &json!({"why": "no bulb"}),
            Some("broken"),
        )
        .await;
    });
    assert_eq!(reply, Err("target_error".into()));
    // It offers nothing any more.
    let mut body = vec![0, 77, 0];
    body.extend(string("callway/serve/devices/#"));
    device.packet(0xa2, &body).await;
    assert_eq!(device.read().await.0, 0xb0);
    assert_eq!(
        socket.call("devices/x/on", json!({})).await,
        Err("no_responder".into())
    );
}

#[tokio::test]
async fn who_is_back_in_its_session_still_answers() {
    let world = World::start().await;
    for version in BOTH {
        let hello = Hello::new(version, "bulb").stays(60);
        let (mut device, _) = Device::connect(world.port, &hello).await;
        assert_eq!(device.subscribe("callway/serve/devices/#", 1).await, 1);
        device.goodbye().await;
        let (mut device, present) = Device::connect(world.port, &hello).await;
        assert!(present, "so it need not subscribe again");
        let mut socket = world.daemon.ws().await;
        let (reply, ()) = tokio::join!(socket.call("devices/x/on", json!({})), async {
            let asked = device.next().await;
            answer(&mut device, &asked, &json!("on"), None).await;
        });
        assert_eq!(reply, Ok(json!("on")));
        Device::connect(world.port, &Hello::new(version, "bulb")).await;
    }
}

#[tokio::test]
async fn a_call_is_not_put_to_a_device_again_after_its_connection() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "bulb").stays(60);
    let (mut device, _) = Device::connect(world.port, &hello).await;
    assert_eq!(device.subscribe("callway/serve/devices/#", 1).await, 1);
    let mut socket = world.daemon.ws().await;
    let (reply, ()) = tokio::join!(socket.call("devices/x/on", json!({})), async {
        // It may have been carried out, and is lost before it is acknowledged.
        device.take().await;
        drop(device);
    });
    assert_eq!(reply, Err("unavailable".into()), "that was its outcome");
    let (mut device, present) = Device::connect(world.port, &hello).await;
    assert!(present);
    device.hears_nothing().await;
}

#[tokio::test]
async fn offers_are_bounded() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    for number in 0..100 {
        let filter = format!("callway/serve/devices/{number}");
        assert_eq!(device.subscribe(&filter, 0).await, 0);
    }
    assert_eq!(device.subscribe("callway/serve/devices/x", 0).await, 0x97);
    assert_eq!(device.subscribe("news", 0).await, 0);
    assert_eq!(device.subscribe("callway/serve/devices/7", 1).await, 1);
    let long = format!("callway/reply/{}", "x".repeat(2000));
    assert_eq!(device.subscribe(&long, 0).await, 0x8f);
}

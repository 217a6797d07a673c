//! Retained messages outlive callway, as they were left, and nobody's right to leave them.

use super::{BOTH, Device, Hello, World};
use crate::support::Version;
use crate::support::mqtt::string;

/// Leaves a message with all that MQTT 5 has for one.
async fn leave(device: &mut Device, topic: &str, payload: &str) {
    let properties = [
        vec![0x03],
        string("text/plain"),
        vec![0x26],
        string("one"),
        string("1"),
        vec![0x02, 0, 0, 0, 60],
    ]
    .concat();
    let id = device.send_publish(topic, payload, 0b11, &properties).await;
    assert_eq!(device.acknowledged(0x40, id).await, 0);
}

#[tokio::test]
async fn a_new_subscriber_gets_them_although_callway_was_killed() {
    let mut world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    leave(&mut device, "r/1", "all of it").await;
    for (topic, qos) in [("r/2", 2), ("r/forgotten", 1), ("r/3", 0)] {
        device.publish(topic, topic, qos, true).await;
    }
    device.publish("r/forgotten", "", 1, true).await;
    device.publish("r/2", "the last word", 2, true).await;
    // Twice, so that what was read back is kept as well.
    for round in 0..2 {
        world.daemon.restart().await;
        for version in BOTH {
            let client = format!("reader {round} {version:?}");
            let mut reader = world.device(version, &client).await;
            reader.subscribe("r/#", 2).await;
            let mut heard = [
                reader.next().await,
                reader.next().await,
                reader.next().await,
            ];
            reader.hears_nothing().await;
            heard.sort_by(|one, other| one.topic.cmp(&other.topic));
            let [first, second, third] = heard;
            assert_eq!((first.qos, &*first.payload), (1, &b"all of it"[..]));
            if version == Version::V5 {
                assert_eq!(first.content_type.as_deref(), Some("text/plain"));
                assert_eq!(first.user, [("one".to_owned(), "1".to_owned())]);
                assert!(first.expiry.is_some_and(|left| (1..=60).contains(&left)));
            }
            assert_eq!((second.qos, &*second.payload), (2, &b"the last word"[..]));
            assert_eq!((third.qos, &*third.payload), (0, &b"r/3"[..]));
            assert!(first.retain && second.retain && third.retain);
        }
    }
}

#[tokio::test]
async fn what_a_revoked_client_left_does_not_come_back() {
    let mut world = World::start().await;
    let grant = ["--publish", "left/{x...}"];
    let mut hello = Hello::new(Version::V5, "a");
    hello.password = Some(world.daemon.token("leaver", &grant).await);
    let (mut leaver, _) = Device::connect(world.port, &hello).await;
    assert_eq!(leaver.publish("left/1", "poison", 1, true).await, 0);
    let revoked = world.daemon.command(&["token", "revoke", "leaver"]).await;
    assert!(revoked.status.success());
    // Somebody else has its name now.
    hello.password = Some(world.daemon.token("leaver", &grant).await);
    let (mut other, _) = Device::connect(world.port, &hello).await;
    assert_eq!(other.publish("left/2", "fine", 1, true).await, 0);
    world.daemon.restart().await;
    let mut reader = world.device(Version::V5, "b").await;
    reader.subscribe("left/#", 1).await;
    assert_eq!(reader.hears().await, ("left/2".into(), "fine".into()));
    reader.hears_nothing().await;
}

#[tokio::test]
async fn the_last_event_of_a_channel_with_a_history_outlives_the_history() {
    let config = r#"
        [[channel]]
        name = "log/{x}"
        history = { count = 2 }
    "#;
    let mut world = World::with(config).await;
    let mut device = world.device(Version::V5, "a").await;
    device.publish("log/1", "first", 1, true).await;
    for text in ["second", "third"] {
        device.publish("log/1", text, 1, false).await;
    }
    world.daemon.restart().await;
    let mut reader = world.device(Version::V5, "b").await;
    reader.subscribe("log/1", 1).await;
    assert_eq!(
        reader.hears().await.1,
        "first",
        "the others were not to be retained"
    );
    let page = world.daemon.http().get("/api/channels/log/1").await.json();
    let events = page["events"].as_array().unwrap().iter();
    let payloads: Vec<_> = events
        .map(|event| event["payload"].as_str().unwrap())
        .collect();
    assert_eq!(payloads, ["second", "third"]);
    assert_eq!(page["last"]["payload"], "first");
    // What comes over another transport has no such flag: it is the last event.
    let mut socket = world.daemon.ws().await;
    let publish = serde_json::json!({"channel": "log/1", "payload": 4});
    socket.call("callway.publish", publish).await.unwrap();
    world.daemon.restart().await;
    let mut reader = world.device(Version::V5, "b").await;
    reader.subscribe("log/1", 1).await;
    assert_eq!(reader.hears().await.1, "4");
}

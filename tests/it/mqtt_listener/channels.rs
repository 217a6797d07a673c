//! Channels: by name, by topic and by filter, within the grants; and last events.

use serde_json::json;

use super::{BOTH, DEVICE, Device, Hello, World};
use crate::support::mqtt::string;
use crate::support::{Mosquitto, Mqtt, Version};

#[tokio::test]
async fn basic() {
    let world = World::start().await;
    for (version, other) in [(Version::V5, Version::V4), (Version::V4, Version::V5)] {
        let mut device = world.device(version, "a").await;
        let mut reader = world.device(other, "b").await;
        assert_eq!(reader.subscribe("a/b", 2).await, 2);
        for qos in [0, 1, 2] {
            assert_eq!(device.publish("a/b", "hi", qos, false).await, 0);
            let message = reader.next().await;
            assert_eq!((message.topic.as_str(), message.qos), ("a/b", qos));
            assert_eq!((&*message.payload, message.retain), (&b"hi"[..], false));
        }
        reader.packet(0xa2, &unsubscribe(other, "a/b")).await;
        assert_eq!(reader.read().await.0, 0xb0);
        device.publish("a/b", "hi", 1, false).await;
        reader.hears_nothing().await;
        reader.goodbye().await;
    }
}

fn unsubscribe(version: Version, filter: &str) -> Vec<u8> {
    let mut body = vec![0, 99];
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(string(filter));
    body
}

#[tokio::test]
async fn the_same_events_travel_over_websocket() {
    let world = World::start().await;
    let mut socket = world.daemon.ws().await;
    let subscribe = json!({"channel": "telemetry/7"});
    socket.call("callway.subscribe", subscribe).await.unwrap();
    let mut device = world.device(Version::V5, "a").await;
    device.subscribe("telemetry/#", 1).await;
    device
        .publish("telemetry/7", r#"{"c":21.5}"#, 1, false)
        .await;
    assert_eq!(socket.next().await["params"]["payload"], json!({"c": 21.5}));
    assert_eq!(device.next().await.json(), json!({"c": 21.5}));
    let publish = json!({"channel": "telemetry/8", "payload": "on"});
    socket.call("callway.publish", publish).await.unwrap();
    assert_eq!(
        device.hears().await,
        ("telemetry/8".into(), "\"on\"".into())
    );
}

#[tokio::test]
async fn a_filter_that_covers_more_than_is_granted_is_narrowed() {
    let world = World::start().await;
    let mut hello = Hello::new(Version::V5, "a");
    hello.password = Some(DEVICE.to_owned());
    let (mut device, _) = Device::connect(world.port, &hello).await;
    for (filter, code) in [
        ("#", 1),
        ("telemetry/+/x", 1),
        ("other/#", 0x87),
        ("telemetry/other/x", 0x87),
        ("$SYS/#", 0x87),
        ("callway/call/#", 0x87),
        ("callway/serve/devices/other/on", 0x87),
        ("$share/group/news", 0x9e),
    ] {
        assert_eq!(device.subscribe(filter, 1).await, code, "{filter}");
    }
    let mut tester = world.device(Version::V5, "b").await;
    for topic in ["telemetry/other/x", "secret", "telemetry/device/x", "news"] {
        tester.publish(topic, topic, 1, true).await;
    }
    for topic in ["telemetry/device/x", "news"] {
        assert_eq!(device.hears().await, (topic.into(), topic.into()));
    }
    device.hears_nothing().await;
    // What is retained is narrowed as well.
    assert_eq!(device.subscribe("#", 0).await, 0);
    assert_eq!(device.hears().await.0, "telemetry/device/x");
    assert_eq!(device.hears().await.0, "news");
    device.hears_nothing().await;
    for (topic, reason) in [
        ("telemetry/device/x", 0),
        ("telemetry/other/x", 0x87),
        ("news", 0x87),
        ("callway/serve/x", 0x90),
        ("a/../b", 0x90),
    ] {
        assert_eq!(
            device.publish(topic, "x", 1, false).await,
            reason,
            "{topic}"
        );
        match reason {
            0 => assert_eq!(device.hears().await.0, topic),
            _ => assert_eq!(
                device.publish(topic, "x", 2, false).await,
                reason,
                "{topic}"
            ),
        }
    }
    let mut old = Hello::new(Version::V4, "c");
    old.password = Some(DEVICE.to_owned());
    let (mut old, _) = Device::connect(world.port, &old).await;
    assert_eq!(old.subscribe("other/#", 1).await, 0x80);
}

#[tokio::test]
async fn a_channel_answers_to_its_topic_too() {
    let broker = Mosquitto::start().await;
    let world = World::with(&format!(
        r#"
        [bus.field]
        url = "{}"
        [[channel]]
        name = "rooms/{{room}}/climate"
        mqtt = {{ bus = "field", topic = "sensors/{{room}}", direction = "both" }}
        "#,
        broker.url()
    ))
    .await;
    world.daemon.link_is("field", "up").await;
    let mut device = world.device(Version::V5, "a").await;
    let mut reader = world.device(Version::V4, "b").await;
    assert_eq!(device.subscribe("sensors/+", 1).await, 1);
    assert_eq!(reader.subscribe("rooms/+/climate", 1).await, 1);
    let mut outside = Mqtt::connect(broker.port, Version::V5).await;
    outside.subscribe("sensors/#").await;
    let mut other = world.device(Version::V5, "c").await;
    other.publish("sensors/7", "21", 1, false).await;
    assert_eq!(device.hears().await, ("sensors/7".into(), "21".into()));
    assert_eq!(
        reader.hears().await,
        ("rooms/7/climate".into(), "21".into())
    );
    assert_eq!(outside.next().await.topic, "sensors/7");
    let mut message = crate::support::Message::new("sensors/8", "22");
    message.qos = 1;
    outside.publish(&message).await.unwrap();
    assert_eq!(device.hears().await, ("sensors/8".into(), "22".into()));
    assert_eq!(
        reader.hears().await,
        ("rooms/8/climate".into(), "22".into())
    );
}

#[tokio::test]
async fn retained_messages() {
    let world = World::start().await;
    for version in BOTH {
        let mut device = world.device(version, "a").await;
        for (topic, qos) in [("r/0", 0), ("r/1", 1), ("r/2", 2)] {
            device.publish(topic, topic, qos, true).await;
        }
        // What is not to be retained changes nothing.
        device.publish("r/1", "news", 1, false).await;
        assert_eq!(device.subscribe("+/+", 2).await, 2);
        for (topic, qos) in [("r/0", 0), ("r/1", 1), ("r/2", 2)] {
            let message = device.next().await;
            assert_eq!((message.topic.as_str(), message.qos), (topic, qos));
            assert_eq!(message.payload, topic.as_bytes());
            assert!(message.retain);
        }
        let mut other = world.device(version, "other").await;
        other.publish("r/1", "live", 1, true).await;
        assert!(
            !device.next().await.retain,
            "it is news to who has subscribed"
        );
        for topic in ["r/0", "r/1", "r/2"] {
            other.publish(topic, "", 1, true).await;
            assert!(device.next().await.payload.is_empty());
        }
        let mut late = world.device(version, "b").await;
        late.subscribe("+/+", 2).await;
        late.hears_nothing().await;
    }
}

#[tokio::test]
async fn all_that_is_retained_is_told_however_small_the_queue() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    for number in 0..30 {
        let topic = format!("r/{number}");
        device.publish(&topic, "x", 1, true).await;
    }
    for version in BOTH {
        let mut late = world.device(version, "b").await;
        let filters = [string("r/+"), vec![1], string("r/1"), vec![1]].concat();
        let head = if version == Version::V5 {
            &[0, 1, 0][..]
        } else {
            &[0, 1]
        };
        late.packet(0x82, &[head, &filters].concat()).await;
        assert_eq!(late.read().await.0, 0x90);
        for number in 0..30 {
            assert_eq!(late.hears().await.0, format!("r/{number}"));
        }
        assert_eq!(late.hears().await.0, "r/1", "the other subscription's turn");
        late.hears_nothing().await;
    }
}

#[tokio::test]
async fn what_is_retained_never_comes_behind_what_is_newer() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    for round in 0..100 {
        let (old, new) = (format!("old {round}"), format!("new {round}"));
        device.publish("s", &old, 1, true).await;
        let hello = Hello::new(Version::V5, "b").stays(60);
        let (mut reader, _) = Device::connect(world.port, &hello).await;
        let subscribe = [vec![0, 1, 0], string("s"), vec![1]].concat();
        reader.packet(0x82, &subscribe).await;
        device.publish("s", &new, 1, true).await;
        // Until the SUBACK and the newer one have come, and then what else there is.
        let (mut heard, mut subscribed) = (Vec::new(), false);
        for rest in [false, true] {
            while rest || !subscribed || !heard.contains(&new) {
                reader.packet(0xc0, &[]).await;
                while let (kind, body) = reader.read().await
                    && kind != 0xd0
                {
                    subscribed |= kind == 0x90;
                    let text = String::from_utf8_lossy(&body).into_owned();
                    let payload = [&old, &new].into_iter().find(|one| text.ends_with(*one));
                    heard.extend(payload.cloned());
                }
                if rest {
                    break;
                }
            }
        }
        assert_eq!(heard.last(), Some(&new), "{heard:?}");
        Device::connect(world.port, &Hello::new(Version::V5, "b")).await;
    }
}

#[tokio::test]
async fn what_a_revoked_client_left_is_told_to_nobody() {
    let world = World::start().await;
    let token = world
        .daemon
        .token("leaver", &["--publish", "left/{x}"])
        .await;
    let mut hello = Hello::new(Version::V5, "a");
    hello.password = Some(token);
    let (mut leaver, _) = Device::connect(world.port, &hello).await;
    assert_eq!(leaver.publish("left/1", "poison", 1, true).await, 0);
    let revoked = world.daemon.command(&["token", "revoke", "leaver"]).await;
    assert!(revoked.status.success());
    assert_eq!(leaver.ended().await, Some(0x87), "its connection ends");
    let mut reader = world.device(Version::V5, "b").await;
    reader.subscribe("left/#", 1).await;
    reader.hears_nothing().await;
    let (_, connack) = Device::try_connect(world.port, &hello).await;
    assert_eq!(connack[1], 0x86);
}

#[tokio::test]
async fn subscribe_options() {
    const NO_LOCAL: u8 = 4;
    const AS_PUBLISHED: u8 = 8;
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    device.publish("o/1", "kept", 1, true).await;
    // Retain handling: always, only for a new subscription, never.
    assert_eq!(device.subscribe("o/1", 0x11).await, 1);
    assert!(device.next().await.retain);
    assert_eq!(device.subscribe("o/1", 0x11).await, 1);
    device.hears_nothing().await;
    assert_eq!(device.subscribe("o/1", 0x21).await, 1);
    device.hears_nothing().await;
    assert_eq!(
        device
            .subscribe("o/1", 0x21 | NO_LOCAL | AS_PUBLISHED)
            .await,
        1
    );
    device.publish("o/1", "own", 1, true).await;
    device.hears_nothing().await;
    let mut other = world.device(Version::V5, "b").await;
    other.publish("o/1", "other", 1, true).await;
    let message = device.next().await;
    assert_eq!((&*message.payload, message.retain), (&b"other"[..], true));
}

#[tokio::test]
async fn overlapping_subscriptions() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    device.subscribe_as("o/#", 2, Some(7)).await;
    device.subscribe_as("o/+", 1, Some(9)).await;
    device.send_publish("o/1", "x", 0b100, &[]).await;
    let (kind, _) = device.read().await;
    assert_eq!(kind, 0x50);
    let (kind, body) = device.read().await;
    assert_eq!(kind, 0x34, "once, at the highest QoS");
    let identifiers = [4, 0x0b, 9, 0x0b, 7];
    let mut windows = body.windows(5);
    assert!(windows.any(|window| window == identifiers || window == [4, 0x0b, 7, 0x0b, 9]));
}

#[tokio::test]
async fn overlapping_subscriptions_without_identifiers() {
    let world = World::start().await;
    let mut device = world.device(Version::V4, "a").await;
    device.subscribe("o/#", 2).await;
    device.subscribe("o/+", 1).await;
    let mut other = world.device(Version::V4, "b").await;
    other.publish("o/1", "x", 2, false).await;
    assert_eq!(device.next().await.qos, 2, "once, at the highest QoS");
    device.hears_nothing().await;
}

#[tokio::test]
async fn user_properties_and_the_rest_travel_along() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    device.subscribe("p", 1).await;
    let properties = [
        vec![0x01, 1, 0x03],
        string("text/plain"),
        vec![0x08],
        string("answers/here"),
        vec![0x09],
        string("c-7"),
        vec![0x26],
        string("one"),
        string("1"),
        vec![0x26],
        string("one"),
        string("2"),
        vec![0x02, 0, 0, 0, 60],
    ]
    .concat();
    let id = device.send_publish("p", "x", 2, &properties).await;
    // Its own message may come before the PUBACK.
    let (mut message, mut acknowledged) = (None, false);
    while message.is_none() || !acknowledged {
        let (kind, body) = device.read().await;
        match kind {
            0x40 => acknowledged = body[..2] == id.to_be_bytes(),
            kind => message = crate::support::mqtt::parse_publish(kind, &body, Version::V5),
        }
    }
    let (message, _) = message.unwrap();
    assert_eq!(message.content_type.as_deref(), Some("text/plain"));
    assert_eq!(message.response_topic.as_deref(), Some("answers/here"));
    assert_eq!(message.correlation.as_deref(), Some(&b"c-7"[..]));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(message.user, [pair("one", "1"), pair("one", "2")]);
    assert!(message.expiry.is_some_and(|left| (59..=60).contains(&left)));
}

#[tokio::test]
async fn a_token_beside_an_event_reaches_nobody() {
    let world = World::start().await;
    let mut reader = world.device(Version::V5, "reader").await;
    reader.subscribe("p", 1).await;
    let mut device = world.device(Version::V5, "a").await;
    let pair = |name: &str, value: &str| [vec![0x26], string(name), string(value)].concat();
    let properties = [pair("token", "cw_canary"), pair("unit", "C")].concat();
    device.send_publish("p", "21", 0, &properties).await;
    let message = reader.next().await;
    assert_eq!(message.user, [("unit".to_owned(), "C".to_owned())]);
}

#[tokio::test]
async fn properties_are_bounded() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    let properties = [0x26, 0, 0, 0, 0].repeat(2000);
    let id = device.send_publish("p", "x", 2, &properties).await;
    assert_eq!(device.acknowledged(0x40, id).await, 0x97);
}

#[tokio::test]
async fn dollar_topics() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    for filter in ["+/+", "#"] {
        device.subscribe(filter, 1).await;
    }
    device.publish("$own/topic", "x", 1, false).await;
    device.hears_nothing().await;
    device.subscribe("$own/#", 1).await;
    device.publish("$own/topic", "x", 0, false).await;
    assert_eq!(device.hears().await.0, "$own/topic");
}

#[tokio::test]
async fn topics_with_empty_levels() {
    let world = World::start().await;
    let mut device = world.device(Version::V4, "a").await;
    device.subscribe("/+/", 1).await;
    device.publish("/a/", "x", 0, false).await;
    assert_eq!(device.hears().await.0, "/a/");
}

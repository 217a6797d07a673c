//! Sessions: who has one, how long, and what is not lost with a connection, nor with callway.

use std::time::Duration;

use super::{BOTH, DEVICE, Device, Hello, World};
use crate::eventually;
use crate::support::Version;

#[tokio::test]
async fn offline_message_queueing() {
    let world = World::start().await;
    for version in BOTH {
        let client = format!("sleeper {version:?}");
        let hello = Hello::new(version, &client).stays(60);
        let (mut device, present) = Device::connect(world.port, &hello).await;
        assert!(!present);
        device.subscribe("q/+", 2).await;
        device.goodbye().await;
        let mut other = world.device(version, "b").await;
        for qos in [0, 1, 2] {
            other.publish(&format!("q/{qos}"), "x", qos, false).await;
        }
        let (mut device, present) = Device::connect(world.port, &hello).await;
        assert!(present);
        assert_eq!(device.hears().await.0, "q/1");
        assert_eq!(device.hears().await.0, "q/2");
        device.hears_nothing().await;
        let (mut device, present) =
            Device::connect(world.port, &Hello::new(version, &client)).await;
        assert!(!present, "a clean start forgets it");
        other.publish("q/1", "x", 1, false).await;
        device.hears_nothing().await;
    }
}

#[tokio::test]
async fn a_device_misses_nothing_although_callway_is_killed() {
    let mut world = World::start().await;
    for version in BOTH {
        let client = format!("{version:?}");
        let hello = Hello::new(version, &client).stays(60);
        let (mut device, _) = Device::connect(world.port, &hello).await;
        device.subscribe(&format!("k/{client}/#"), 2).await;
    }
    let mut other = world.device(Version::V5, "b").await;
    let mut unacknowledged = Vec::new();
    for version in BOTH {
        let client = format!("{version:?}");
        let topic = |name: &str| format!("k/{client}/{name}");
        other.publish(&topic("one"), "1", 1, false).await;
        other.publish(&topic("two"), "2", 2, false).await;
        // Received, but neither acknowledged nor released.
        let hello = Hello::new(version, &client).stays(60);
        let (mut device, present) = Device::connect(world.port, &hello).await;
        assert!(present);
        let (_, _, first) = device.take().await;
        let (_, _, second) = device.take().await;
        let second = second.unwrap();
        device.packet(0x50, &second.to_be_bytes()).await;
        device.acknowledged(0x62, second).await;
        unacknowledged.push((hello, first.unwrap(), second));
        other.publish(&topic("three"), "3", 1, false).await;
    }
    world.daemon.restart().await;
    let mut other = world.device(Version::V5, "b").await;
    for (hello, first, second) in unacknowledged {
        let topic = |name: &str| format!("k/{}/{name}", hello.client);
        other.publish(&topic("four"), "4", 1, false).await;
        let (mut device, present) = Device::connect(world.port, &hello).await;
        assert!(present, "the session outlives callway");
        device.acknowledged(0x62, second).await;
        device.packet(0x70, &second.to_be_bytes()).await;
        let (message, kind, id) = device.take().await;
        assert_eq!((message.topic, id), (topic("one"), Some(first)));
        assert_eq!(kind & 8, 8, "it may have been there before");
        device.packet(0x40, &first.to_be_bytes()).await;
        assert_eq!(device.hears().await.0, topic("three"));
        assert_eq!(device.hears().await.0, topic("four"));
        device.hears_nothing().await;
    }
    // What was acknowledged is gone for good.
    world.daemon.stop().await;
    world.daemon.again().await;
    for version in BOTH {
        let hello = Hello::new(version, &format!("{version:?}")).stays(60);
        let (mut device, _) = Device::connect(world.port, &hello).await;
        device.hears_nothing().await;
    }
}

#[tokio::test]
async fn redelivery_on_reconnect() {
    let world = World::start().await;
    for version in BOTH {
        let hello = Hello::new(version, "a").stays(60);
        let (mut device, _) = Device::connect(world.port, &hello).await;
        device.subscribe("d/#", 2).await;
        let mut other = world.device(version, "b").await;
        other.publish("d/1", "x", 1, false).await;
        other.publish("d/2", "x", 2, false).await;
        let (_, kind, first) = device.take().await;
        assert_eq!(kind, 0x32, "not sent before");
        let (_, _, second) = device.take().await;
        drop(device);
        let (mut device, _) = Device::connect(world.port, &hello).await;
        let (one, kind, id) = device.take().await;
        assert_eq!((one.topic.as_str(), kind, id), ("d/1", 0x3a, first));
        let (two, kind, id) = device.take().await;
        assert_eq!((two.topic.as_str(), kind, id), ("d/2", 0x3c, second));
        Device::connect(world.port, &Hello::new(version, "a")).await;
    }
}

#[tokio::test]
async fn who_has_no_name_is_given_one() {
    let world = World::start().await;
    for version in BOTH {
        let (mut one, present) = Device::connect(world.port, &Hello::new(version, "")).await;
        assert!(!present);
        let (_other, _) = Device::connect(world.port, &Hello::new(version, "")).await;
        one.hears_nothing().await; // and is not sent away
    }
    let mut hello = Hello::new(Version::V5, "");
    hello.clean = false;
    let (_, connack) = Device::try_connect(world.port, &hello).await;
    assert_eq!(connack[1], 0, "MQTT 5 needs no clean start for it");
}

#[tokio::test]
async fn take_over() {
    let world = World::start().await;
    for version in BOTH {
        let hello = Hello::new(version, "a").stays(60);
        let (mut first, _) = Device::connect(world.port, &hello).await;
        first.subscribe("t", 1).await;
        let (mut second, present) = Device::connect(world.port, &hello).await;
        assert!(present);
        let reason = (version == Version::V5).then_some(0x8e);
        assert_eq!(first.ended().await, reason);
        second.publish("t", "x", 0, false).await;
        assert_eq!(second.hears().await.0, "t", "it has the subscriptions");
        Device::connect(world.port, &Hello::new(version, "a")).await;
    }
}

#[tokio::test]
async fn a_session_that_ends_with_its_connection_is_not_taken_over() {
    let world = World::start().await;
    let mut reader = world.device(Version::V5, "reader").await;
    reader.subscribe("w", 1).await;
    for version in BOTH {
        let mut hello = Hello::new(version, "a");
        hello.will = Some(("w", "gone", 1, false, 60));
        let (mut first, _) = Device::connect(world.port, &hello).await;
        first.subscribe("t", 1).await;
        let stays = Hello::new(version, "a").stays(60);
        let (mut second, present) = Device::connect(world.port, &stays).await;
        assert!(!present, "the state of a clean session is nobody's");
        assert_eq!(reader.hears().await.0, "w", "the session ended");
        second.publish("t", "x", 1, false).await;
        second.hears_nothing().await;
        assert_eq!(first.ended().await.is_some(), version == Version::V5);
        Device::connect(world.port, &Hello::new(version, "a")).await;
    }
}

#[tokio::test]
async fn of_two_that_connect_at_once_one_has_the_session() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "same").stays(60);
    for _ in 0..50 {
        let connect = || Device::connect(world.port, &hello);
        let ((mut one, _), (mut other, _)) = tokio::join!(connect(), connect());
        for device in [&mut one, &mut other] {
            device.packet(0xc0, &[]).await;
        }
        let answers = [one.read().await.0, other.read().await.0];
        assert!(
            answers == [0xd0, 0xe0] || answers == [0xe0, 0xd0],
            "one lives, the other was sent away: {answers:x?}"
        );
    }
}

#[tokio::test]
async fn what_waited_is_not_told_to_who_may_not_have_it_any_more() {
    let mut world = World::start().await;
    let mut hello = Hello::new(Version::V5, "a").stays(60);
    hello.password = Some(DEVICE.to_owned());
    let (mut device, _) = Device::connect(world.port, &hello).await;
    device.subscribe("#", 2).await;
    device.goodbye().await;
    let mut other = world.device(Version::V5, "b").await;
    for (topic, qos) in [("telemetry/device/x", 1), ("news", 1), ("news", 2)] {
        other.publish(topic, "x", qos, false).await;
    }
    world.daemon.kill();
    let path = world.daemon.directory.path().join("callway.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace(r#", "news"]"#, "]")).unwrap();
    world.daemon.again().await;
    let (mut device, present) = Device::connect(world.port, &hello).await;
    assert!(present);
    // That of QoS 2 may have come already, and then its identifier has to be free again.
    assert_eq!(device.acknowledged(0x62, 3).await, 0);
    device.packet(0x70, &[0, 3]).await;
    assert_eq!(device.hears().await.0, "telemetry/device/x");
    device.hears_nothing().await;
}

#[tokio::test]
async fn nobody_takes_the_session_of_another_caller() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "same").stays(60);
    let (mut device, _) = Device::connect(world.port, &hello).await;
    device.subscribe("secret", 1).await;
    let mut foreign = hello.clone();
    foreign.password = Some(DEVICE.to_owned());
    let (mut foreign, present) = Device::connect(world.port, &foreign).await;
    assert!(!present);
    device.publish("secret", "x", 0, false).await;
    assert_eq!(device.hears().await.0, "secret");
    foreign.hears_nothing().await;
}

#[tokio::test]
async fn session_expiry() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "a").stays(1);
    let (device, _) = Device::connect(world.port, &hello).await;
    device.goodbye().await;
    assert!(Device::connect(world.port, &hello).await.1);
    eventually!({
        tokio::time::sleep(Duration::from_millis(1200)).await;
        !Device::connect(world.port, &hello).await.1
    });
    // A DISCONNECT may shorten it, but not begin one.
    let hello = Hello::new(Version::V5, "b").stays(60);
    let (mut device, _) = Device::connect(world.port, &hello).await;
    device.packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 0]).await;
    assert_eq!(device.ended().await, None);
    assert!(!Device::connect(world.port, &hello).await.1);
    let mut device = world.device(Version::V5, "c").await;
    device.packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 9]).await;
    assert_eq!(device.ended().await, Some(0x82));
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "a").stays(60);
    let (mut device, _) = Device::connect(world.port, &hello).await;
    device.subscribe("b", 1).await;
    device.goodbye().await;
    let mut other = world.device(Version::V5, "b").await;
    for number in 0..25 {
        assert_eq!(other.publish("b", &number.to_string(), 1, false).await, 0);
    }
    let full = r#"callway_limit_reached_total{limit="device_queue"}"#;
    assert_eq!(world.daemon.metric(full).await, 5.0);
    let (mut device, _) = Device::connect(world.port, &hello).await;
    for number in 0..20 {
        assert_eq!(device.hears().await.1, number.to_string());
    }
    device.hears_nothing().await;
}

#[tokio::test]
async fn a_drain_says_so() {
    let mut world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    let mut old = world.device(Version::V4, "b").await;
    let (ended, _) = tokio::join!(device.ended(), world.daemon.stop());
    assert_eq!(ended, Some(0x8b));
    assert_eq!(old.ended().await, None);
}

//! Flow control, aliases, sizes, expiry, keep-alive: the limits of both sides.

use super::{BOTH, Device, Hello, World};
use crate::support::Version;
use crate::support::mqtt::{string, variable};

/// The value of a property of a CONNACK, whose properties begin behind its length.
fn said(connack: &[u8], wanted: u8) -> Option<u32> {
    let mut rest = &connack[3..];
    while let Some((id, after)) = rest.split_first() {
        let size = match id {
            0x21 | 0x22 | 0x13 => 2,
            0x27 | 0x11 => 4,
            0x2a | 0x28 | 0x29 | 0x24 | 0x25 => 1,
            _ => 2 + usize::from(u16::from_be_bytes([after[0], after[1]])),
        };
        if *id == wanted {
            let bytes = after[..size].iter();
            return Some(bytes.fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
        }
        rest = &after[size..];
    }
    None
}

#[tokio::test]
async fn what_is_available_is_announced() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "").property(&[0x19, 1]);
    let (_, connack) = Device::try_connect(world.port, &hello).await;
    assert_eq!(said(&connack, 0x21), Some(256), "receive maximum");
    assert_eq!(said(&connack, 0x22), Some(32), "topic alias maximum");
    assert!(said(&connack, 0x27).is_some_and(|size| size > 256 * 1024));
    assert_eq!(said(&connack, 0x2a), Some(0), "no shared subscriptions");
    let text = String::from_utf8_lossy(&connack).into_owned();
    assert!(
        text.contains("callway/reply/callway-"),
        "where replies may go: {text}"
    );
}

#[tokio::test]
async fn flow_control_towards_the_client() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "a").property(&[0x21, 0, 2]);
    let (mut device, _) = Device::connect(world.port, &hello).await;
    device.subscribe("f/#", 2).await;
    let mut other = world.device(Version::V5, "b").await;
    for (payload, qos) in [("1", 1), ("2", 2), ("0", 0), ("3", 1), ("4", 2)] {
        other.publish("f/x", payload, qos, false).await;
    }
    let (one, _, first) = device.take().await;
    let (two, _, second) = device.take().await;
    let (zero, ..) = device.take().await;
    assert_eq!([one.payload, two.payload, zero.payload].concat(), b"120");
    device.hears_nothing().await;
    device.packet(0x40, &first.unwrap().to_be_bytes()).await;
    assert_eq!(device.take().await.0.payload, b"3");
    device.hears_nothing().await;
    let second = second.unwrap();
    device.packet(0x50, &second.to_be_bytes()).await;
    device.acknowledged(0x62, second).await;
    device.hears_nothing().await;
    device.packet(0x70, &second.to_be_bytes()).await;
    assert_eq!(device.take().await.0.payload, b"4");
}

#[tokio::test]
async fn flow_control_towards_callway() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    for _ in 0..257 {
        // Never released, so all of them count.
        device.send_publish("f/x", "x", 4, &[]).await;
    }
    assert_eq!(device.ended().await, Some(0x93));
    // MQTT 3.1.1 has no word for it: such a client is read more slowly.
    let mut old = world.device(Version::V4, "b").await;
    let mut last = 0;
    for _ in 0..600 {
        last = old.send_publish("f/x", "x", 2, &[]).await;
    }
    for id in 1..=last {
        assert_eq!(old.acknowledged(0x40, id).await, 0);
    }
}

#[tokio::test]
async fn topic_aliases_in_both_directions() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "a").property(&[0x22, 0, 1]);
    let (mut reader, _) = Device::connect(world.port, &hello).await;
    reader.subscribe("t/#", 0).await;
    let mut device = world.device(Version::V5, "b").await;
    device.send_publish("t/1", "one", 0, &[0x23, 0, 7]).await;
    device.send_publish("", "two", 0, &[0x23, 0, 7]).await;
    device.send_publish("t/2", "three", 0, &[0x23, 0, 7]).await;
    device.send_publish("", "four", 0, &[0x23, 0, 7]).await;
    let mut heard = Vec::new();
    for _ in 0..4 {
        let (message, ..) = reader.take().await;
        heard.push((message.topic, String::from_utf8(message.payload).unwrap()));
    }
    let expected = [
        ("t/1", "one"),
        ("", "two"),
        ("t/2", "three"),
        ("t/2", "four"),
    ];
    let expected = expected.map(|(topic, payload)| (topic.to_owned(), payload.to_owned()));
    assert_eq!(heard, expected, "one alias is taken, so one topic is short");
    for broken in [&[0x23, 0, 0][..], &[0x23, 0, 33]] {
        let mut device = world.device(Version::V5, "c").await;
        device.send_publish("t/1", "x", 0, broken).await;
        assert_eq!(device.ended().await, Some(0x94));
    }
    let mut device = world.device(Version::V5, "c").await;
    device.send_publish("", "x", 0, &[0x23, 0, 9]).await;
    assert_eq!(
        device.ended().await,
        Some(0x82),
        "an alias that stands for nothing"
    );
}

#[tokio::test]
async fn maximum_packet_size() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "a").property(&[0x27, 0, 0, 0, 100]);
    let (mut device, _) = Device::connect(world.port, &hello).await;
    device.subscribe("s/#", 1).await;
    let mut other = world.device(Version::V5, "b").await;
    other.publish("s/large", &"x".repeat(200), 1, false).await;
    other.publish("s/small", "x", 1, false).await;
    assert_eq!(
        device.hears().await.0,
        "s/small",
        "what is too large is left out"
    );
    // A payload within the limit of a packet and over that of a message.
    let payload = "x".repeat(256 * 1024 + 1);
    assert_eq!(other.publish("s/x", &payload, 1, false).await, 0x97);
    let mut head = vec![0x30];
    head.extend(variable(300_000));
    head.extend(string("s/x"));
    other.send(&head).await;
    assert_eq!(other.ended().await, Some(0x95), "before a byte of it came");
}

#[tokio::test]
async fn a_message_expires_while_it_waits() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "a").stays(60);
    let (mut device, _) = Device::connect(world.port, &hello).await;
    device.subscribe("e/#", 1).await;
    device.goodbye().await;
    let mut other = world.device(Version::V5, "b").await;
    for (topic, seconds) in [("e/short", 1), ("e/long", 60)] {
        let id = other
            .send_publish(topic, "x", 2, &[2, 0, 0, 0, seconds])
            .await;
        assert_eq!(other.acknowledged(0x40, id).await, 0);
    }
    other.send_publish("e/kept", "x", 1, &[2, 0, 0, 0, 1]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let (mut device, present) = Device::connect(world.port, &hello).await;
    assert!(present);
    let message = device.next().await;
    assert_eq!(message.topic, "e/long");
    assert!(
        message.expiry.is_some_and(|left| left < 60),
        "what is left of it"
    );
    device.hears_nothing().await;
    other.subscribe("e/kept", 1).await;
    other.hears_nothing().await;
}

#[tokio::test]
async fn keepalive() {
    let world = World::start().await;
    for version in BOTH {
        let mut hello = Hello::new(version, "a");
        hello.keep_alive = 1;
        let (mut device, _) = Device::connect(world.port, &hello).await;
        let since = std::time::Instant::now();
        let reason = (version == Version::V5).then_some(0x8d);
        assert_eq!(device.ended().await, reason);
        let took = since.elapsed().as_millis();
        assert!((1400..4000).contains(&took), "{took} ms");
    }
}

#[tokio::test]
async fn server_keep_alive() {
    let world = World::start().await;
    for (wanted, announced) in [(0, Some(1200)), (60, None), (2000, Some(1200))] {
        let mut hello = Hello::new(Version::V5, "a");
        hello.keep_alive = wanted;
        let (_, connack) = Device::try_connect(world.port, &hello).await;
        assert_eq!(said(&connack, 0x13), announced, "{wanted}");
    }
}

#[tokio::test]
async fn the_longest_keep_alive_is_set_for_an_endpoint() {
    let port = crate::support::free_port();
    let world = World::with(&format!(
        "[[listen]]\naddress = \"127.0.0.1:{port}\"\n[[listen.endpoint]]\ndialect = \"mqtt\"\n\
         keep_alive = \"60s\"\nanonymous = \"device\"\n"
    ))
    .await;
    let mut hello = Hello::new(Version::V5, "a");
    hello.keep_alive = 120;
    let (_, connack) = Device::try_connect(port, &hello).await;
    assert_eq!(said(&connack, 0x13), Some(60));
    // There who has no password may what `device` may, and no more; a wrong one is still refused.
    for version in BOTH {
        let mut hello = Hello::new(version, "a");
        hello.password = None;
        let (mut device, _) = Device::connect(port, &hello).await;
        assert!(device.subscribe("news", 1).await < 0x80);
        assert!(device.subscribe("other", 1).await >= 0x80);
        hello.password = Some("guess".to_owned());
        assert_ne!(Device::try_connect(port, &hello).await.1[1], 0);
        hello.password = None;
        assert_ne!(Device::try_connect(world.port, &hello).await.1[1], 0);
    }
}

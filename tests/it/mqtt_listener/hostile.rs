//! Bytes that have broken brokers: each costs a bounded amount of memory, ends with the
//! standard's reason code, and leaves everybody else alone.

use std::time::Duration;

use super::device::packet;
use super::{BOTH, Device, Hello, World};
use crate::eventually;
use crate::support::Version;
use crate::support::mqtt::{string, variable};

/// What a CONNECT is answered, and that the connection ends.
async fn refused(world: &World, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut device = Device::raw(world.port, bytes).await;
    let answer = device.try_read().await;
    if answer.is_some() {
        assert_eq!(device.try_read().await, None);
    }
    answer.map(|(kind, body)| {
        assert_eq!(kind, 0x20);
        body
    })
}

fn connect(changed: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Hello::new(Version::V5, "a").bytes();
    changed(&mut bytes);
    bytes
}

#[tokio::test]
async fn what_is_no_connect_is_not_waited_for() {
    let world = World::start().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        // A CONNACK from a client (CVE-2021-28166), a PUBLISH, a PINGREQ, a DISCONNECT.
        &[0x20, 2, 0, 0],
        &[0x30, 4, 0, 1, b'a', 0],
        &[0xc0, 0],
        &[0xe0, 0],
        // Flags that are not 0; a type that is none.
        &[0x11, 13],
        &[0x00, 0],
        // Lengths that are none, or too much (CVE-2017-7651, CVE-2023-0809, CVE-2026-21888).
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x10, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0x10, 0xff, 0xff, 0xff, 0x7f],
        &[0x10, 0x80, 0x00],
        // A length too short for what follows.
        &[0x10, 4, 0, 4, b'M', b'Q'],
        &[0x10, 0],
        &[0x10, 12, 0, 4, b'M', b'Q', b'X', b'X', 5, 2, 0, 60, 0, 0],
    ] {
        assert_eq!(refused(&world, bytes).await, None, "{bytes:?}");
    }
    world.device(Version::V5, "fine").await;
}

#[tokio::test]
async fn a_broken_connect_is_told_why() {
    let world = World::start().await;
    let malformed = Some(vec![0, 0x81, 0]);
    let flags = 9;
    for (what, bytes) in [
        ("the reserved flag", connect(|bytes| bytes[flags] |= 1)),
        ("a will at QoS 3", connect(|bytes| bytes[flags] |= 0x1c)),
        ("QoS of no will", connect(|bytes| bytes[flags] |= 0x08)),
        (
            "a trailing byte",
            connect(|bytes| {
                bytes.push(0);
                bytes[1] += 1;
            }),
        ),
        (
            "properties beyond the end",
            connect(|bytes| bytes[12] = 0x7f),
        ),
    ] {
        assert_eq!(refused(&world, &bytes).await, malformed, "{what}");
    }
    let version = |level: u8| connect(|bytes| bytes[8] = level);
    assert_eq!(refused(&world, &version(6)).await, Some(vec![0, 0x84, 0]));
    assert_eq!(refused(&world, &version(3)).await, Some(vec![0, 1]));
    let twice = Hello::new(Version::V5, "a").property(&[0x21, 0, 9, 0x21, 0, 9]);
    assert_eq!(
        refused(&world, &twice.bytes()).await,
        Some(vec![0, 0x82, 0])
    );
    let none = Hello::new(Version::V5, "a").property(&[0x21, 0, 0]);
    assert_eq!(refused(&world, &none.bytes()).await, Some(vec![0, 0x82, 0]));
    let method = Hello::new(Version::V5, "a").property(&[0x15, 0, 1, b'x']);
    assert_eq!(
        refused(&world, &method.bytes()).await,
        Some(vec![0, 0x8c, 0])
    );
    // The will of a wildcard; and a client identifier that would not fit into a log (CVE-2017-7650
    // was about wildcards in one: here they mean nothing).
    let mut will = Hello::new(Version::V5, "a");
    will.will = Some(("a/#", "x", 0, false, 0));
    assert_eq!(refused(&world, &will.bytes()).await, Some(vec![0, 0x90, 0]));
    for (client, code) in [
        ("x".repeat(257), 0x85),
        ("a\nb".into(), 0x85),
        ("#/+".into(), 0),
    ] {
        let (_, connack) = Device::try_connect(world.port, &Hello::new(Version::V5, &client)).await;
        assert_eq!(connack[1], code, "{client}");
    }
    let mut old = Hello::new(Version::V4, "");
    old.clean = false;
    assert_eq!(refused(&world, &old.bytes()).await, Some(vec![0, 2]));
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let world = World::start().await;
    for (password, v5, v4) in [(None, 0x87, 5), (Some("guess".to_owned()), 0x86, 4)] {
        for version in BOTH {
            let mut hello = Hello::new(version, "a");
            hello.password.clone_from(&password);
            let (mut device, connack) = Device::try_connect(world.port, &hello).await;
            assert_eq!(connack[1], if version == Version::V5 { v5 } else { v4 });
            assert_eq!(device.try_read().await, None);
        }
    }
    let log = world.daemon.log();
    assert!(!log.contains("guess") && !log.contains(crate::support::TOKEN));
}

#[tokio::test]
async fn a_silent_client_has_its_time() {
    let world = World::with("[limits]\nhandshake = \"300ms\"").await;
    for bytes in [&[][..], &[0x10], &[0x10, 0x20, 0, 4]] {
        assert_eq!(refused(&world, bytes).await, None);
    }
    let late = r#"callway_limit_reached_total{limit="handshake"}"#;
    assert_eq!(world.daemon.metric(late).await, 3.0);
}

#[tokio::test]
async fn broken_packets_end_with_the_standards_reason() {
    let world = World::start().await;
    let publish = |body: &[u8], flags: u8| packet(0x30 | flags, body);
    let long = |length: usize| [vec![0x30], variable(length)].concat();
    let cases: Vec<(&str, Vec<u8>, u8)> = vec![
        (
            "a second CONNECT",
            Hello::new(Version::V5, "a").bytes(),
            0x82,
        ),
        ("a CONNACK (CVE-2021-28166)", packet(0x20, &[0, 0, 0]), 0x82),
        ("a SUBACK", packet(0x90, &[0, 1, 0, 0]), 0x82),
        ("a type that is none", packet(0x00, &[]), 0x81),
        ("an AUTH", packet(0xf0, &[]), 0x82),
        ("QoS 3", publish(&[0, 1, b'a', 0, 1, 0], 6), 0x81),
        ("DUP at QoS 0", publish(&[0, 1, b'a', 0], 8), 0x81),
        (
            "an empty topic (CVE-2021-34432)",
            publish(&[0, 0, 0], 0),
            0x82,
        ),
        ("a wildcard in a topic", publish(&[0, 1, b'+', 0], 0), 0x90),
        ("a NUL in a topic", publish(&[0, 1, 0, 0], 0), 0x81),
        (
            "a topic that is no UTF-8",
            publish(&[0, 1, 0xff, 0], 0),
            0x81,
        ),
        (
            "a packet identifier of 0",
            publish(&[0, 1, b'a', 0, 0, 0], 2),
            0x82,
        ),
        ("no length of properties", publish(&[0, 1, b'a'], 0), 0x81),
        (
            "a property that does not belong",
            publish(&[0, 1, b'a', 3, 0x21, 0, 1], 0),
            0x81,
        ),
        (
            "a property twice",
            publish(&[0, 1, b'a', 4, 0x01, 0, 0x01, 0], 0),
            0x82,
        ),
        (
            "a response topic with a wildcard",
            publish(&[0, 1, b'a', 4, 0x08, 0, 1, b'#'], 0),
            0x82,
        ),
        ("a body that ends early", publish(&[0, 9, b'a'], 0), 0x81),
        (
            "five bytes of length (CVE-2026-21888)",
            vec![0x30, 0xff, 0xff, 0xff, 0xff, 1],
            0x81,
        ),
        ("more length than is needed", vec![0xc0, 0x80, 0x00], 0x81),
        ("256 MiB", long(268_435_455), 0x95),
        (
            "flags of a SUBSCRIBE",
            packet(0x80, &[0, 1, 0, 0, 1, b'a', 0]),
            0x81,
        ),
        ("no filter", packet(0x82, &[0, 1, 0]), 0x82),
        ("an empty filter", packet(0x82, &[0, 1, 0, 0, 0, 0]), 0x8f),
        (
            "a filter that is none",
            packet(0x82, &[0, 1, 0, 0, 2, b'a', b'#', 0]),
            0x8f,
        ),
        (
            "reserved options",
            packet(0x82, &[0, 1, 0, 0, 1, b'a', 0xc0]),
            0x81,
        ),
        ("a QoS of 3", packet(0x82, &[0, 1, 0, 0, 1, b'a', 3]), 0x81),
        (
            "an identifier of 0",
            packet(0x82, &[0, 1, 2, 0x0b, 0, 0, 1, b'a', 0]),
            0x82,
        ),
        ("flags of a PUBREL", packet(0x60, &[0, 1]), 0x81),
        ("a PINGREQ with a body", packet(0xc0, &[0]), 0x81),
        ("an UNSUBSCRIBE of nothing", packet(0xa2, &[0, 1, 0]), 0x82),
    ];
    for (what, bytes, reason) in cases {
        let mut device = world.device(Version::V5, "a").await;
        device.send(&bytes).await;
        assert_eq!(device.ended().await, Some(reason), "{what}");
        if !what.contains("propert") && !what.contains("identifier") && !what.contains("AUTH") {
            let mut old = world.device(Version::V4, "b").await;
            // Where the bytes are fine there, the end comes with the ping that is no packet.
            old.send(&bytes).await;
            old.send(&[0xc1, 0]).await;
            assert_eq!(old.ended().await, None, "{what}");
        }
    }
    // Late or made-up acknowledgements hurt nobody.
    let mut device = world.device(Version::V5, "a").await;
    for kind in [0x40, 0x70] {
        device.packet(kind, &[0, 77]).await;
    }
    device.hears_nothing().await;
    device.packet(0x50, &[0, 77]).await;
    assert_eq!(device.acknowledged(0x62, 77).await, 0x92);
}

#[tokio::test]
async fn packets_come_in_any_pieces() {
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    device.subscribe("p", 0).await;
    let mut bytes = Vec::new();
    for _ in 0..3 {
        let mut body = string("p");
        body.extend([0, b'x']);
        bytes.extend(packet(0x30, &body));
    }
    for byte in &bytes {
        device.send(std::slice::from_ref(byte)).await;
        tokio::task::yield_now().await;
    }
    device.send(&bytes).await;
    for _ in 0..6 {
        assert_eq!(device.hears().await, ("p".into(), "x".into()));
    }
}

#[tokio::test]
async fn a_duplicate_id_of_qos_2_costs_nothing() {
    // CVE-2023-28366: the same identifier again and again.
    let world = World::start().await;
    let mut device = world.device(Version::V5, "a").await;
    let mut body = string("d");
    body.extend([0, 9, 0]);
    body.extend(vec![b'x'; 1000]);
    let bytes = packet(0x34, &body);
    for _ in 0..2000 {
        device.send(&bytes).await;
        assert_eq!(device.acknowledged(0x50, 9).await, 0);
    }
    let events = r#"callway_events_total{via="mqtt",outcome="accepted"}"#;
    assert_eq!(world.daemon.metric(events).await, 1.0);
}

#[tokio::test]
async fn client_id_churn_is_bounded() {
    // CVE-2026-22040: the same identifier as fast as it goes; and ever new ones.
    let world = World::with("[limits]\nconnections = 40").await;
    let mut victim = Hello::new(Version::V5, "victim").stays(60);
    victim.password = Some(super::DEVICE.to_owned());
    Device::connect(world.port, &victim).await.0.goodbye().await;
    let hello = Hello::new(Version::V5, "same").stays(60);
    for _ in 0..50 {
        let (device, _) = Device::connect(world.port, &hello).await;
        drop(device);
    }
    for number in 0..60 {
        let hello = Hello::new(Version::V5, &number.to_string()).stays(60);
        let (device, _) = Device::connect(world.port, &hello).await;
        device.goodbye().await;
    }
    let ended = r#"callway_limit_reached_total{limit="device_sessions"}"#;
    eventually!(world.daemon.metric(ended).await >= 20.0);
    let oldest = Hello::new(Version::V5, "0").stays(60);
    assert!(!Device::connect(world.port, &oldest).await.1);
    let latest = Hello::new(Version::V5, "59").stays(60);
    assert!(Device::connect(world.port, &latest).await.1);
    assert!(
        Device::connect(world.port, &victim).await.1,
        "nobody else's session has to go for it"
    );
}

#[tokio::test]
async fn who_does_not_read_costs_what_the_queue_may_hold() {
    let world = World::start().await;
    let mut deaf = world.device(Version::V5, "deaf").await;
    deaf.subscribe("loud", 0).await;
    let mut device = world.device(Version::V5, "a").await;
    let payload = "x".repeat(100_000);
    for _ in 0..200 {
        assert_eq!(device.publish("loud", &payload, 1, false).await, 0);
    }
    let full = r#"callway_limit_reached_total{limit="device_queue"}"#;
    assert!(world.daemon.metric(full).await > 0.0);
    drop(deaf);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let world = World::with("[limits]\nconnections = 2").await;
    let _first = world.device(Version::V5, "a").await;
    let second = world.device(Version::V5, "b").await;
    for (version, code) in [(Version::V5, 0x89), (Version::V4, 3)] {
        let (_, connack) = Device::try_connect(world.port, &Hello::new(version, "c")).await;
        assert_eq!(connack[1], code);
    }
    drop(second);
    tokio::time::sleep(Duration::from_millis(1)).await;
    eventually!(
        Device::try_connect(world.port, &Hello::new(Version::V5, "c"))
            .await
            .1[1]
            == 0
    );
}

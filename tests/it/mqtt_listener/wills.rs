//! Wills: published when a client is lost, and not when it says goodbye.

use std::time::{Duration, Instant};

use super::{BOTH, DEVICE, Device, Hello, World};
use crate::support::Version;

fn with_will(version: Version, client: &str, delay: u32) -> Hello {
    let mut hello = Hello::new(version, client);
    hello.will = Some(("w/a", "gone", 1, false, delay));
    hello
}

#[tokio::test]
async fn will_message() {
    let world = World::start().await;
    for version in BOTH {
        let mut reader = world.device(version, "reader").await;
        reader.subscribe("w/#", 1).await;
        let (device, _) = Device::connect(world.port, &with_will(version, "a", 0)).await;
        device.goodbye().await;
        reader.hears_nothing().await;
        let (device, _) = Device::connect(world.port, &with_will(version, "a", 0)).await;
        drop(device);
        assert_eq!(reader.hears().await, ("w/a".into(), "gone".into()));
        let (mut device, _) = Device::connect(world.port, &with_will(version, "a", 0)).await;
        device.send(&[0xf7, 0xff, 0xff, 0xff, 0xff]).await;
        assert_eq!(reader.hears().await.0, "w/a", "who is sent away was lost");
        let (_device, _) = Device::connect(world.port, &with_will(version, "a", 0)).await;
        let (second, _) = Device::connect(world.port, &Hello::new(version, "a")).await;
        assert_eq!(
            reader.hears().await.0,
            "w/a",
            "and so was who was taken over"
        );
        second.goodbye().await;
    }
    let mut reader = world.device(Version::V5, "reader").await;
    reader.subscribe("w/#", 1).await;
    let (mut device, _) = Device::connect(world.port, &with_will(Version::V5, "a", 0)).await;
    device.packet(0xe0, &[4]).await;
    assert_eq!(
        reader.hears().await.0,
        "w/a",
        "it may be asked for in a goodbye"
    );
}

#[tokio::test]
async fn will_delay() {
    let world = World::start().await;
    let mut reader = world.device(Version::V5, "reader").await;
    reader.subscribe("w/#", 1).await;
    // The session ends first.
    let (device, _) = Device::connect(world.port, &with_will(Version::V5, "a", 60)).await;
    drop(device);
    assert_eq!(reader.hears().await.0, "w/a");
    let delayed = with_will(Version::V5, "a", 1).stays(60);
    let (device, _) = Device::connect(world.port, &delayed).await;
    let since = Instant::now();
    drop(device);
    assert_eq!(reader.hears().await.0, "w/a");
    assert!(since.elapsed() >= Duration::from_secs(1));
    // Who is back in time is not dead.
    let (device, _) = Device::connect(world.port, &delayed).await;
    drop(device);
    let (device, present) = Device::connect(world.port, &delayed).await;
    assert!(present);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    reader.hears_nothing().await;
    device.goodbye().await;
    reader.hears_nothing().await;
}

#[tokio::test]
async fn a_will_needs_the_grant_of_its_client() {
    let world = World::start().await;
    let mut reader = world.device(Version::V5, "reader").await;
    reader.subscribe("#", 1).await;
    let mut hello = with_will(Version::V5, "a", 0);
    hello.password = Some(DEVICE.to_owned());
    let (device, _) = Device::connect(world.port, &hello).await;
    drop(device);
    let refused = r#"callway_dropped_total{via="mqtt",reason="will"}"#;
    crate::eventually!(world.daemon.metric(refused).await == 1.0);
    reader.hears_nothing().await;
}

/// Whoever was connected has ten seconds to come back.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn who_does_not_come_back_after_a_kill_was_lost() {
    let mut world = World::start().await;
    let will = |client: &'static str, version, delay| {
        let mut hello = Hello::new(version, client);
        hello.will = Some(("w/a", client, 1, true, delay));
        hello
    };
    let lost = [
        will("lost", Version::V4, 0),
        will("lost with a session", Version::V5, 0).stays(60),
    ];
    let back = [
        will("back", Version::V5, 0),
        will("back without its session", Version::V4, 0).stays(60),
        will("back with its session", Version::V5, 3).stays(60),
        will("gone before, and back", Version::V5, 60).stays(60),
    ];
    let mut devices = Vec::new();
    for hello in lost.iter().chain(&back) {
        devices.push(Device::connect(world.port, hello).await.0);
    }
    drop(devices.pop());
    let (left, _) = Device::connect(world.port, &will("left", Version::V5, 0)).await;
    left.goodbye().await;
    let mut expired = will("expired", Version::V5, 0);
    let grants = ["--publish", "w/{x}", "--expires", "2s"];
    expired.password = Some(world.daemon.token("expired", &grants).await);
    let _expired = Device::connect(world.port, &expired).await;
    world.daemon.restart().await;
    let since = Instant::now();
    let mut reader = world.device(Version::V5, "reader").await;
    reader.subscribe("w/#", 1).await;
    let mut again = Vec::new();
    for (hello, stays) in back.iter().zip([true, false, true, true]) {
        let hello = Hello {
            clean: hello.clean || !stays,
            ..hello.clone()
        };
        again.push(Device::connect(world.port, &hello).await.0);
    }
    let mut heard = [reader.hears().await.1, reader.hears().await.1];
    assert!(since.elapsed() >= GRACE - Duration::from_secs(2));
    heard.sort();
    assert_eq!(heard, ["lost", "lost with a session"]);
    reader.hears_nothing().await;
    for device in again {
        device.goodbye().await;
    }
    let (mut device, _) = Device::connect(world.port, &will("ended", Version::V5, 0)).await;
    let (ended, _) = tokio::join!(device.ended(), world.daemon.stop());
    assert_eq!(ended, Some(0x8b));
    world.daemon.again().await;
    let mut reader = world.device(Version::V4, "reader").await;
    reader.subscribe("w/#", 1).await;
    let retained = reader.hears().await.1;
    assert!(
        retained.starts_with("lost"),
        "a will may be retained: {retained}"
    );
    assert_eq!(reader.hears().await.1, "ended", "the others are done with");
    reader.hears_nothing().await;
}

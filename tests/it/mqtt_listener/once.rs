//! Messages of QoS 2 and the disk: whatever ends, or does not answer, each comes once.

use rusqlite::Connection;

use super::{BOTH, Device, Hello, World};
use crate::support::{PATIENCE, Version};

/// Writes to the database, and keeps callway from it until this is dropped.
fn occupy(world: &World) -> Connection {
    let path = world.daemon.directory.path().join("state/callway.db");
    let database = Connection::open(path).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    database
}

async fn reader(world: &World) -> Device {
    let mut reader = world.device(Version::V5, "reader").await;
    reader.subscribe("once", 1).await;
    reader
}

#[tokio::test]
async fn what_a_client_sends_again_after_a_kill_is_taken_once() {
    let mut world = World::start().await;
    for version in BOTH {
        let mut heard = reader(&world).await;
        let hello = Hello::new(version, "a").stays(60);
        let (mut device, _) = Device::connect(world.port, &hello).await;
        let id = device.send_publish("once", "x", 4, &[]).await;
        assert_eq!(device.acknowledged(0x50, id).await, 0);
        assert_eq!(heard.hears().await.1, "x");
        for _ in 0..2 {
            world.daemon.restart().await;
            heard = reader(&world).await;
            // The PUBREC was lost, as far as the client knows.
            (device, _) = Device::connect(world.port, &hello).await;
            assert_eq!(device.send_publish("once", "x", 0xc, &[]).await, id);
            assert_eq!(device.acknowledged(0x50, id).await, 0);
            heard.hears_nothing().await;
        }
        device.packet(0x62, &id.to_be_bytes()).await;
        assert_eq!(device.acknowledged(0x70, id).await, 0);
        // Once it is released the identifier is free, also for the next process.
        world.daemon.restart().await;
        heard = reader(&world).await;
        (device, _) = Device::connect(world.port, &hello).await;
        device.packet(0x62, &id.to_be_bytes()).await;
        let unknown = if version == Version::V5 { 0x92 } else { 0 };
        assert_eq!(device.acknowledged(0x70, id).await, unknown);
        assert_eq!(device.send_publish("once", "y", 4, &[]).await, id);
        assert_eq!(device.acknowledged(0x50, id).await, 0);
        assert_eq!(heard.hears().await.1, "y");
        Device::connect(world.port, &Hello::new(version, "a")).await;
    }
}

#[tokio::test]
async fn what_is_not_on_disk_is_not_sent() {
    let mut world = World::start().await;
    for version in BOTH {
        let hello = Hello::new(version, "a").stays(60);
        let (mut device, _) = Device::connect(world.port, &hello).await;
        device.subscribe("once", 2).await;
        let mut other = world.device(Version::V5, "b").await;
        let occupied = occupy(&world);
        other.send_publish("once", "1", 4, &[]).await;
        other.hears_nothing().await; // it was taken up
        device.hears_nothing().await;
        // The kill takes it from callway, and its identifier goes to the next.
        world.daemon.kill();
        drop(occupied);
        world.daemon.again().await;
        let mut other = world.device(Version::V5, "b").await;
        let (mut device, present) = Device::connect(world.port, &hello).await;
        assert!(present);
        let occupied = occupy(&world);
        let id = other.send_publish("once", "2", 4, &[]).await;
        other.hears_nothing().await;
        device.hears_nothing().await;
        drop(occupied);
        assert_eq!(other.acknowledged(0x50, id).await, 0);
        assert_eq!(device.hears().await.1, "2");
        device.hears_nothing().await;
        Device::connect(world.port, &Hello::new(version, "a")).await;
    }
}

#[tokio::test]
async fn what_cannot_be_kept_comes_when_it_is_published_again() {
    let world = World::start().await;
    let hello = Hello::new(Version::V5, "a").stays(60);
    let (mut device, _) = Device::connect(world.port, &hello).await;
    device.subscribe("once", 2).await;
    let mut other = world.device(Version::V5, "b").await;
    let occupied = occupy(&world);
    let refused = other.publish("once", "x", 2, false).await;
    assert!(refused >= 0x80, "the publisher is told: {refused:x}");
    device.hears_nothing().await;
    let dropped = r#"callway_dropped_total{via="mqtt",reason="not_kept"}"#;
    assert_eq!(world.daemon.metric(dropped).await, 1.0);
    // What is behind it is held up no longer.
    other.publish("once", "passing", 0, false).await;
    assert_eq!(device.hears().await.1, "passing");
    drop(occupied);
    assert_eq!(other.publish("once", "x", 2, false).await, 0);
    assert_eq!(device.hears().await.1, "x");
    device.hears_nothing().await;
}

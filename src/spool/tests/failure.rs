//! A disk that is full, and one that fails.

use std::process::Command;

use super::disks::{Mood, Moody};
use super::*;

fn reason(fault: &Fault) -> String {
    let data: serde_json::Value = serde_json::from_slice(fault.data.as_ref().unwrap()).unwrap();
    data["reason"].as_str().unwrap().to_owned()
}

/// Appends one, which is refused for this reason.
async fn refused(spool: &Spool, number: u64) -> String {
    let appended = spool.append(QUEUE, Lane::Own, body(number)).unwrap();
    let fault = appended.await.unwrap_err().fault;
    assert_eq!(fault.kind, Kind::Unavailable);
    reason(&fault)
}

#[tokio::test]
async fn a_full_disk_refuses_and_keeps_what_it_has() {
    for mood in [Mood::Full, Mood::FullForGood] {
        let ground = Ground::new();
        let disk = Moody::new();
        let spool = ground.open_on(disk.clone());
        let mut consumer = spool.consume(QUEUE);
        keep(&spool, Lane::Own, 1..=10).await;
        disk.set(mood);
        next(&mut consumer).await.done();
        for number in 11..=13 {
            assert_eq!(refused(&spool, number).await, "storage_full");
        }
        disk.set(Mood::Well);
        assert_eq!(keep(&spool, Lane::Own, 14..=15).await, [14, 15]);
        let expected = bodies((2..=10).chain(14..=15));
        assert_eq!(waiting(&spool), expected, "{mood:?}");
        spool.close().await;
        // The mark that found no room was written later.
        assert_eq!(waiting(&ground.open()), expected, "{mood:?}");
        assert_eq!(ground.counted("callway_spool_failed_total"), 0);
    }
}

#[tokio::test]
async fn what_was_not_synchronised_is_not_kept() {
    for mood in [Mood::NoSync, Mood::NoWrite] {
        let ground = Ground::new();
        let disk = Moody::new();
        let spool = ground.open_on(disk.clone());
        keep(&spool, Lane::Own, 1..=3).await;
        let sealed = ground.files().pop().unwrap();
        disk.set(mood);
        for number in 4..=5 {
            assert_eq!(refused(&spool, number).await, "storage_failed");
        }
        assert_eq!(ground.counted("callway_spool_failed_total"), 2);
        let length = sealed.metadata().unwrap().len();
        disk.set(Mood::Well);
        keep(&spool, Lane::Own, 6..=7).await;
        assert_eq!(sealed.metadata().unwrap().len(), length, "it was left");
        assert_eq!(ground.files().len(), 2, "tries that failed leave nothing");
        let expected = bodies((1..=3).chain(6..=7));
        assert_eq!(waiting(&spool), expected);
        spool.close().await;
        // Even if the disk has what it said it had not: nobody was told so.
        assert_eq!(waiting(&ground.open()), expected, "{mood:?}");
    }
}

#[tokio::test]
async fn nothing_overtakes_what_was_not_kept_before_that_is_known() {
    let ground = Ground::new();
    let disk = Moody::new();
    let spool = ground.open_on(disk.clone());
    disk.set(Mood::NoSync);
    let append = |lane, number| spool.append(QUEUE, Lane::Named(lane), body(number));
    let mut unheard = vec![append(1, 1).unwrap()];
    let fault = loop {
        match append(1, 2) {
            Ok(appended) => unheard.push(appended),
            Err(fault) => break fault,
        }
    };
    assert_eq!(reason(&fault), "storage_failed");
    disk.set(Mood::Well);
    append(2, 3).unwrap().await.unwrap();
    for appended in unheard {
        assert!(append(1, 4).is_err(), "somebody has not heard yet");
        let unkept = appended.await.unwrap_err();
        assert!(append(1, 4).is_err(), "and holds up those that follow");
        drop(unkept);
    }
    append(1, 5).unwrap().await.unwrap();
    let kept: Vec<_> = waiting(&spool).into_values().collect();
    assert_eq!(kept, [body(3), body(5)]);
}

#[tokio::test]
async fn a_disk_that_fails_from_the_beginning_keeps_nothing() {
    let ground = Ground::new();
    let disk = Moody::new();
    disk.set(Mood::NoSync);
    let spool = ground.open_on(disk.clone());
    for number in 1..=20 {
        assert_eq!(refused(&spool, number).await, "storage_failed");
    }
    assert!(ground.files().is_empty());
    disk.set(Mood::Well);
    assert_eq!(keep(&spool, Lane::Own, [21]).await, [21]);
}

#[tokio::test]
async fn the_spool_ends_also_when_nothing_can_be_written() {
    let ground = Ground::new();
    let disk = Moody::new();
    let spool = ground.open_on(disk.clone());
    keep(&spool, Lane::Own, 1..=3).await;
    disk.set(Mood::Full);
    next(&mut spool.consume(QUEUE)).await.done();
    let appended = spool.append(QUEUE, Lane::Own, body(4)).unwrap();
    spool.close().await;
    assert!(appended.await.is_err());
    // What could not be marked comes again; what was refused does not.
    let again = waiting(&ground.open());
    assert_eq!(again, bodies(1..=3));
}

/// A file system of one megabyte, where the test may make one.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: PathBuf) -> Option<Tmpfs> {
        std::fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
        let mounted = mount.arg(&path).output();
        mounted
            .is_ok_and(|done| done.status.success())
            .then_some(Tmpfs(path))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        Command::new("umount").arg(&self.0).status().unwrap();
    }
}

#[tokio::test]
async fn a_small_file_system_is_filled_and_used_again() {
    let ground = Ground::new();
    let Some(tmpfs) = Tmpfs::mount(ground.path()) else {
        eprintln!("skipped: this user may not mount a tmpfs");
        return;
    };
    let limits = Limits {
        spool_size: 8 * 1024 * 1024,
        ..Limits::default()
    };
    let open = || Spool::open(&tmpfs.0, &limits, &ground.metrics).unwrap();
    let spool = open();
    let mut consumer = spool.consume(QUEUE);
    let large = Bytes::from(vec![9; 10_000]);
    for round in 0..5 {
        let mut kept = Vec::new();
        let fault = loop {
            let appended = spool.append(QUEUE, Lane::Own, large.clone()).unwrap();
            let id = appended.id();
            match appended.await {
                Ok(()) => kept.push(id),
                Err(unkept) => break unkept.fault,
            }
        };
        assert_eq!(reason(&fault), "storage_full");
        assert!(kept.len() > 20, "{} in round {round}", kept.len());
        for id in kept {
            let item = next(&mut consumer).await;
            assert_eq!((item.id, &item.body), (id, &large));
            item.done();
        }
    }
    spool.close().await;
    let spool = open();
    assert!(waiting(&spool).is_empty());
    assert_eq!(ground.counted("callway_spool_damaged_total"), 0);
    drop(consumer);
    spool.close().await;
}

//! What is found again by the next process.

use super::*;

#[tokio::test]
async fn what_waits_is_found_again_and_what_is_done_is_not() {
    let ground = Ground::new();
    let spool = ground.open();
    keep(&spool, Lane::Named(1), 1..=100).await;
    let mut consumer = spool.consume(QUEUE);
    for _ in 0..60 {
        next(&mut consumer).await.done();
    }
    let out = next(&mut consumer).await;
    spool.close().await;
    // Too late to be marked; it comes again.
    out.done();
    assert!(spool.append(QUEUE, Lane::Own, body(101)).is_err());

    let spool = ground.open();
    assert_eq!(waiting(&spool), bodies(61..=100));
    let mut consumer = spool.consume(QUEUE);
    assert_eq!(keep(&spool, Lane::Named(1), 101..=101).await, [101]);
    for id in 61..=101 {
        let item = next(&mut consumer).await;
        assert_eq!((item.id, &item.body), (id, &body(id)));
        assert!(item.accepted > 1_600_000_000_000);
        item.done();
    }
    assert_eq!(ground.counted("callway_spool_damaged_total"), 0);
}

#[tokio::test]
async fn the_last_handle_writes_what_is_not_written_yet() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut consumer = spool.consume(QUEUE);
    keep(&spool, Lane::Own, 1..=2).await;
    let ended = spool.shared().ended.clone();
    drop(spool.append(QUEUE, Lane::Own, body(3)).unwrap());
    let item = next(&mut consumer).await;
    drop((spool, consumer));
    assert!(!ended.is_cancelled(), "an item is a handle too");
    item.done();
    ended.cancelled().await;
    assert_eq!(waiting(&ground.open()), bodies(2..=3));
}

#[tokio::test]
async fn ids_are_not_given_again_after_everything_is_done() {
    let ground = Ground::new();
    let spool = ground.open();
    keep(&spool, Lane::Own, 1..=300).await;
    assert_eq!(spool.purge(None), 300);
    spool.close().await;
    for id in 301..=303 {
        let spool = ground.open();
        assert_eq!(keep(&spool, Lane::Own, [id]).await, [id]);
        assert_eq!(spool.purge(None), 1);
        spool.close().await;
        assert!(ground.files().len() <= 2, "{:?}", ground.files());
    }
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let ground = Ground::new();
    let spool = ground.open();
    let second = Spool::open(&ground.path(), &Limits::default(), &ground.metrics);
    let why = second.err().unwrap().to_string();
    assert!(why.contains("another callway"), "{why}");
    spool.close().await;
    ground.open();
}

#[tokio::test]
async fn a_place_that_is_no_directory_is_said_so() {
    let ground = Ground::new();
    std::fs::write(ground.path(), "a file").unwrap();
    let opened = Spool::open(&ground.path(), &Limits::default(), &ground.metrics);
    assert!(opened.is_err());
}

#[tokio::test]
async fn the_disk_is_given_back() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut consumer = spool.consume(QUEUE);
    // One that stays behind, then a hundred times what may be wasted.
    keep(&spool, Lane::Own, 1..=1).await;
    let stuck = next(&mut consumer).await;
    let mut most = 0;
    for round in 0..400 {
        let first = 2 + round * 40;
        keep(&spool, Lane::Named(1), first..first + 40).await;
        for _ in 0..40 {
            next(&mut consumer).await.done();
        }
        most = most.max(ground.used());
    }
    let bound = SMALL.slack + 4 * SMALL.segment;
    assert!(most < bound, "{most} bytes for one record");
    // It has been copied ever on, and is what it was.
    assert_eq!(waiting(&spool), bodies(1..=1));
    spool.close().await;
    let spool = ground.open();
    assert_eq!(waiting(&spool), bodies(1..=1));
    drop(stuck);
}

#[tokio::test]
async fn what_waits_is_not_copied_for_ever() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut consumer = spool.consume(QUEUE);
    // Every other one of many stays.
    keep(&spool, Lane::Own, 1..=1000).await;
    let mut left = Vec::new();
    for id in 1..=1000 {
        let item = next(&mut consumer).await;
        if id % 2 == 0 {
            item.done();
        } else {
            left.push(item);
        }
    }
    spool.close().await;
    let spool = ground.open();
    keep(&spool, Lane::Own, 1001..=1001).await;
    assert_eq!(waiting(&spool).len(), 501);
    spool.close().await;
    let names = ground.files();
    let spool = ground.open();
    spool.close().await;
    assert_eq!(ground.files(), names, "nothing more to put together");
    drop(left);
}

#[tokio::test]
async fn many_small_files_are_put_together() {
    let ground = Ground::new();
    for id in 1..=60 {
        let spool = ground.open();
        keep(&spool, Lane::Own, [id]).await;
        spool.close().await;
    }
    let files = ground.files().len();
    assert!(files < 40, "{files} files");
    assert_eq!(waiting(&ground.open()), bodies(1..=60));
}

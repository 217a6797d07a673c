//! The order in which records are handed out.

use futures_util::FutureExt as _;

use super::*;

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn records_come_in_the_order_of_the_calls() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut consumer = spool.consume(QUEUE);
    assert!(consumer.next().now_or_never().is_none());
    let ids = keep(&spool, Lane::Named(1), 1..=500).await;
    for id in ids {
        let item = next(&mut consumer).await;
        assert_eq!((item.id, &item.body), (id, &body(id)));
        assert_eq!(item.attempts, 0);
        item.done();
    }
    assert!(consumer.next().now_or_never().is_none());
    assert_eq!(spool.stats()[0].messages, 0);
}

#[tokio::test]
async fn what_is_given_back_comes_before_newer_ones() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut consumer = spool.consume(QUEUE);
    keep(&spool, Lane::Named(1), 1..=4).await;
    let first = next(&mut consumer).await;
    let second = next(&mut consumer).await;
    let third = next(&mut consumer).await;
    drop(third);
    drop(first);
    second.done();
    for (id, attempts) in [(1, 1), (3, 1), (4, 0)] {
        let item = next(&mut consumer).await;
        assert_eq!((item.id, item.attempts), (id, attempts));
        item.done();
    }
}

#[tokio::test]
async fn a_lane_that_waits_is_passed_over_until_it_is_due() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut consumer = spool.consume(QUEUE);
    keep(&spool, Lane::Named(1), 1..=2).await;
    keep(&spool, Lane::Named(2), 3..=3).await;
    next(&mut consumer).await.later(Duration::from_millis(30));
    let item = next(&mut consumer).await;
    assert_eq!(item.id, 3);
    item.done();
    for id in 1..=2 {
        let item = next(&mut consumer).await;
        assert_eq!(item.id, id);
        item.done();
    }
}

#[tokio::test]
async fn lanes_that_wait_can_be_told_not_to() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut consumer = spool.consume(QUEUE);
    keep(&spool, Lane::Own, 1..=1).await;
    next(&mut consumer).await.later(LONG);
    spool.retry_now(Some("bus/other"));
    assert!(consumer.next().now_or_never().is_none());
    let (item, ()) = tokio::join!(next(&mut consumer), async { spool.retry_now(None) });
    assert_eq!((item.id, item.attempts), (1, 1));
}

#[tokio::test]
async fn nothing_is_lost_by_waiting_in_vain() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut consumer = spool.consume(QUEUE);
    for number in 1..=200 {
        // Some waits are given up before, some while something comes.
        consumer.next().now_or_never();
        let appended = spool.append(QUEUE, Lane::Own, body(number)).unwrap();
        tokio::select! {
            biased;
            kept = appended => kept.unwrap(),
            item = consumer.next() => drop(item),
        }
    }
    let ids: Vec<_> = waiting(&spool).into_keys().collect();
    for id in ids {
        let item = next(&mut consumer).await;
        assert_eq!(item.id, id);
        item.done();
    }
}

#[tokio::test]
async fn bodies_that_memory_has_no_room_for_are_read_back() {
    let ground = Ground::new();
    let spool = ground.open();
    let large = Bytes::from(vec![7; 3 * SMALL.segment as usize]);
    spool
        .append(QUEUE, Lane::Own, large.clone())
        .unwrap()
        .await
        .unwrap();
    assert_eq!(waiting(&spool)[&1], large);
    keep(&spool, Lane::Own, 2..=200).await;
    assert_eq!(waiting(&spool).split_off(&2), bodies(2..=200));
}

#[tokio::test]
async fn a_list_holds_a_bounded_number_of_bytes() {
    let ground = Ground::new();
    let limits = Limits::default();
    let spool = Spool::open(&ground.path(), &limits, &ground.metrics).unwrap();
    let large = Bytes::from(vec![7; 4 * 1024 * 1024]);
    for _ in 0..6 {
        let appended = spool.append(QUEUE, Lane::Own, large.clone()).unwrap();
        appended.await.unwrap();
    }
    assert_eq!(spool.list(None, 100).len(), 4);
    assert_eq!(spool.waiting(None, 100).count(), 6);
}

#[tokio::test]
async fn records_that_belong_together_are_all_taken_or_none() {
    let ground = Ground::new();
    let spool = ground.open();
    let draft = |queue, kibibytes: usize| Draft {
        queue,
        lane: Lane::Own,
        body: Bytes::from(vec![1; kibibytes * 1024]),
    };
    let refused = |drafts, beside| spool.append_all(drafts, beside).err().unwrap();
    let too_much = vec![draft(QUEUE, 100), draft("calls", 800)];
    assert_eq!(refused(too_much, None).kind, Kind::Unavailable);
    let too_much = vec![draft(QUEUE, 400), draft(QUEUE, 400)];
    assert_eq!(refused(too_much, None).kind, Kind::Unavailable);
    let beside = Some(("calls", 800 * 1024));
    assert_eq!(
        refused(vec![draft(QUEUE, 100)], beside).kind,
        Kind::Unavailable
    );
    assert!(waiting(&spool).is_empty());
    let beside = Some(("calls", 500 * 1024));
    let drafts = vec![draft(QUEUE, 100), draft("bus/other", 100)];
    let appended = spool.append_all(drafts, beside).unwrap();
    let ids: Vec<_> = appended.iter().map(Appended::id).collect();
    futures_util::future::try_join_all(appended).await.unwrap();
    assert!(waiting(&spool).into_keys().eq(ids));
}

#[tokio::test]
async fn queues_do_not_know_each_other() {
    let ground = Ground::new();
    let spool = ground.open();
    keep(&spool, Lane::Named(1), 1..=2).await;
    let other = spool.append("calls", Lane::Named(1), body(3)).unwrap();
    other.await.unwrap();
    let mut calls = spool.consume("calls");
    assert_eq!(next(&mut calls).await.id, 3);
    let messages = |queue: &str| {
        let stats = spool.stats();
        let mut stats = stats.iter().filter(|one| *one.queue == *queue);
        stats.next().map(|one| (one.messages, one.oldest.is_some()))
    };
    assert_eq!(messages(QUEUE), Some((2, true)));
    assert_eq!(messages("calls"), Some((1, true)));
    assert_eq!(spool.list(Some(QUEUE), 1).len(), 1);
    assert_eq!(spool.purge(Some(QUEUE)), 2);
    assert_eq!(messages(QUEUE), Some((0, false)));
    assert_eq!(messages("calls"), Some((1, true)));
}

#[tokio::test]
async fn what_is_thrown_away_while_it_is_out_stays_away() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut consumer = spool.consume(QUEUE);
    keep(&spool, Lane::Named(1), 1..=3).await;
    let out = next(&mut consumer).await;
    let late = next(&mut consumer).await;
    assert_eq!(spool.purge(None), 3);
    drop(out);
    late.later(Duration::ZERO);
    assert!(consumer.next().now_or_never().is_none());
    keep(&spool, Lane::Named(1), 4..=4).await;
    assert_eq!(next(&mut consumer).await.id, 4);
}

#[tokio::test]
async fn more_than_the_limit_is_refused_until_something_is_delivered() {
    let ground = Ground::new();
    let spool = ground.open();
    let large = Bytes::from(vec![1; 240 * 1024]);
    let append = |queue| spool.append(queue, Lane::Own, large.clone());
    // Three in a queue are nearly three quarters, also before they are on disk.
    let three = [(); 3].map(|()| append(QUEUE).unwrap());
    let of_one = append(QUEUE).err().unwrap();
    for appended in three {
        appended.await.unwrap();
    }
    append("calls").unwrap().await.unwrap();
    let of_all = append("calls").err().unwrap();
    for (refused, word) in [
        (of_one, "three quarters"),
        (of_all, "as `limits.spool_size`"),
    ] {
        assert_eq!(refused.kind, Kind::Unavailable);
        assert_eq!(refused.reason().as_deref(), Some("storage_full"));
        assert!(refused.message.contains(word), "{}", refused.message);
    }
    let reached = ground.counted("callway_limit_reached_total{limit=\"spool_size\"}");
    assert_eq!(reached, 2);
    next(&mut spool.consume(QUEUE)).await.done();
    append(QUEUE).unwrap().await.unwrap();
}

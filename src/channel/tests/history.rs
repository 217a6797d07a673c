//! What was missed and what was forgotten.

use std::sync::Arc;
use std::time::Duration;

use super::*;

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_without_gap_or_double() {
    let directory = tempfile::tempdir().unwrap();
    let house = Arc::new(house(directory.path(), ROWS));
    let since = house.publish("kept/a", "0".into()).await;
    let publisher = house.clone();
    let publishing = async {
        for number in 1..=3000_u32 {
            // Long enough for many pages.
            let text = format!("\"{number:0>300}\"");
            let receipt = publisher.hub.publish(event("kept/a", text)).unwrap();
            if number % 100 == 0 {
                receipt.kept().await.unwrap();
            }
        }
    };
    let reading = async {
        let mut reader = house.reader();
        let joined = join(&mut reader, "kept/a", Some(since)).await;
        assert!(joined.recovered);
        for number in 1..=3000_u32 {
            assert_eq!(payload(&mut reader).await, format!("\"{number:0>300}\""));
        }
        assert!(is_quiet(&mut reader).await);
    };
    let late = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        reading.await;
    };
    futures_util::join!(publishing, late);
}

#[tokio::test]
async fn positions_hold_across_a_restart_and_not_across_a_loss() {
    let directory = tempfile::tempdir().unwrap();
    let house = self::house(directory.path(), ROWS);
    let first = house.publish("kept/a", "1".into()).await;
    house.publish("kept/a", "2".into()).await;
    drop(house);
    let house = self::house(directory.path(), ROWS);
    let mut reader = house.reader();
    assert!(join(&mut reader, "kept/a", Some(first)).await.recovered);
    assert_eq!(payload(&mut reader).await, "2");
    assert!(is_quiet(&mut reader).await);
    // A future that this database does not know.
    let future = Position {
        seq: first.seq + 9,
        ..first
    };
    assert!(!join(&mut reader, "kept/a", Some(future)).await.recovered);
    drop((reader, house));

    // For a while the channel had no history: what happened then is unknown.
    let other = ROWS.replace("kept/{x}", "kept/{x}/{y}");
    drop(self::house(directory.path(), &other));
    let house = self::house(directory.path(), ROWS);
    let mut reader = house.reader();
    assert!(!join(&mut reader, "kept/a", Some(first)).await.recovered);

    let elsewhere = tempfile::tempdir().unwrap();
    let house = self::house(elsewhere.path(), ROWS);
    house.publish("kept/a", "1".into()).await;
    let mut reader = house.reader();
    assert!(!join(&mut reader, "kept/a", Some(first)).await.recovered);
}

#[tokio::test]
async fn what_the_history_forgot_is_not_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let mut positions = Vec::new();
    for number in 1..=5 {
        positions.push(house.publish("short/a", number.to_string()).await);
    }
    let mut reader = house.reader();
    let joined = join(&mut reader, "short/a", Some(positions[0])).await;
    assert_eq!((joined.recovered, joined.position), (false, positions[4]));
    assert_eq!(payload(&mut reader).await, "3");
    let mut reader = house.reader();
    assert!(
        join(&mut reader, "short/a", Some(positions[1]))
            .await
            .recovered
    );
    // One that is larger than the rest leaves no room for them.
    house.publish("short/a", "9".repeat(60_000)).await;
    house.publish("short/a", "9".repeat(60_000)).await;
    let query = |count, since| Query {
        channel: "short/a".into(),
        count,
        since,
    };
    let past = house
        .hub
        .history(&anyone(), query(None, None))
        .await
        .unwrap();
    assert_eq!(past.events.len(), 1);
    assert_eq!(past.events[0].position, past.position);
    let nothing = house.hub.history(&anyone(), query(Some(0), None)).await;
    assert!(nothing.unwrap().events.is_empty());
    let none = house
        .hub
        .history(&caller("x", "y"), query(None, None))
        .await;
    assert_eq!(none.unwrap_err().kind, Kind::Forbidden);
}

#[tokio::test]
async fn a_reader_of_a_history_falls_behind_and_catches_up() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let mut reader = house.reader();
    join(&mut reader, "kept/a", None).await;
    join(&mut reader, "live/a", None).await;
    let text = |number: u32| format!("\"{number:0>1000}\"");
    for number in 0..1000 {
        house.publish("kept/a", text(number)).await;
    }
    house.publish("live/a", "1".into()).await;
    for number in 0..1000 {
        let mut next = payload(&mut reader).await;
        if next == "1" {
            next = payload(&mut reader).await;
        }
        assert_eq!(next, text(number));
        if number % 10 == 0 {
            house.publish("kept/a", text(1000 + number / 10)).await;
        }
    }
    for number in 1000..1100 {
        assert_eq!(payload(&mut reader).await, text(number));
    }
    assert!(is_quiet(&mut reader).await);
    // The history forgets what was not read yet: that is a loss, and said to be one.
    let mut reader = house.reader();
    join(&mut reader, "short/a", None).await;
    for number in 0..200 {
        house.publish("short/a", text(number)).await;
    }
    while let Happened::Event(_) = next(&mut reader).await {}
    assert!(matches!(next(&mut reader).await, Happened::Overrun));
}

#[tokio::test]
async fn old_events_go_also_where_nothing_is_published() {
    let directory = tempfile::tempdir().unwrap();
    let rows = "[[channel]]\nname = \"brief/{x}\"\nhistory = { age = \"20ms\" }";
    let house = house(directory.path(), rows);
    let before = house.publish("brief/a", "1".into()).await;
    house.publish("brief/b", "1".into()).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let hub = house.hub.clone();
    let bounds = move |channel: &str| hub.row(channel).and_then(|row| row.history);
    assert_eq!(house.store.sweep_events(None, bounds).await.unwrap(), None);
    let mut reader = house.reader();
    assert!(join(&mut reader, "brief/a", Some(before)).await.recovered);
    let after = house.publish("brief/a", "2".into()).await;
    assert!(after.seq > before.seq, "no position comes twice");
    assert_eq!(payload(&mut reader).await, "2");
}

#[tokio::test]
async fn a_full_disk_refuses_events_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let mut reader = house.reader();
    join(&mut reader, "kept/a", None).await;
    let first = house.publish("kept/a", "1".into()).await;
    assert_eq!(payload(&mut reader).await, "1");
    let pages = |count: u32| {
        let limit = house
            .store
            .write(move |db| db.pragma_update_and_check(None, "max_page_count", count, |_| Ok(())));
        async { limit.await.unwrap() }
    };
    pages(1).await; // as many as there are
    let large = format!("\"{}\"", "x".repeat(50_000));
    let receipt = house.hub.publish(event("kept/a", large.clone())).unwrap();
    let fault = receipt.kept().await.unwrap_err();
    assert_eq!(fault.data.unwrap(), r#"{"reason":"storage_full"}"#);
    assert!(is_quiet(&mut reader).await, "what is not kept is not told");
    let counted = "callway_dropped_total{via=\"ws\",reason=\"not_kept\"} 1\n";
    assert!(house.hub.metrics.render().contains(counted));
    pages(100_000).await;
    let second = house.publish("kept/a", large.clone()).await;
    assert_eq!(second.seq, first.seq + 1);
    assert_eq!(payload(&mut reader).await, large);
}

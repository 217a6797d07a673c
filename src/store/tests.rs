//! What is written stays, in order, and damage stops no start.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

fn open(directory: &tempfile::TempDir) -> Store {
    let path = directory.path().join("state/callway.db");
    Store::open(&path, &Arc::new(Metrics::new())).unwrap()
}

async fn remember(store: &Store, name: &'static str, value: &'static str) -> Result<(), Fault> {
    let insert = "INSERT INTO memo (name, value) VALUES (?, ?)";
    store
        .write(move |db| db.execute(insert, [name, value]).map(drop))
        .await
}

async fn names(store: &Store) -> Vec<String> {
    let all = store.read(|db| {
        // One row is there from the start.
        let names = "SELECT name FROM memo WHERE name <> 'dead.count' ORDER BY name";
        let mut names = db.prepare(names)?;
        names.query_map([], |row| row.get(0))?.collect()
    });
    all.await.unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    remember(&store, "a", "1").await.unwrap();
    assert_eq!(names(&store).await, ["a"]);
    drop(store);
    assert_eq!(names(&open(&directory)).await, ["a"]);
}

#[tokio::test]
async fn one_that_fails_takes_nobody_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let all = futures_util::future::join3(
        remember(&store, "a", "1"),
        remember(&store, "a", "again"),
        remember(&store, "b", "2"),
    );
    let (first, twice, second) = all.await;
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(twice.map_err(|fault| fault.kind), Err(Kind::Unavailable));
    assert_eq!(names(&store).await, ["a", "b"]);
}

#[tokio::test]
async fn a_full_disk_takes_back_all_that_was_to_be_committed_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let pages = "PRAGMA max_page_count = 1"; // as many as there are
    let full = store.write(move |db| db.query_row(pages, [], |_| Ok(())));
    full.await.unwrap();
    let large = |name: &'static str| {
        let insert = "INSERT INTO memo (name, value) VALUES (?, zeroblob(100000))";
        store.write(move |db| db.execute(insert, [name]).map(drop))
    };
    let (before, full, after) = futures_util::future::join3(
        remember(&store, "a", "1"),
        large("b"),
        remember(&store, "c", "2"),
    )
    .await;
    let reason = |outcome: Result<(), Fault>| outcome.err().and_then(|fault| fault.data);
    assert_eq!(reason(full).unwrap(), r#"{"reason":"storage_full"}"#);
    let mut left = Vec::new();
    left.extend(before.is_ok().then_some("a"));
    left.extend(after.is_ok().then_some("c"));
    let kept: Vec<_> = names(&store)
        .await
        .into_iter()
        .filter(|name| name.len() == 1)
        .collect();
    assert_eq!(kept, left, "what was said to be kept is, and nothing else");
}

#[tokio::test]
async fn everyone_is_told_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let told = Arc::new(Mutex::new(Vec::new()));
    for number in 0..500 {
        let told = told.clone();
        store
            .submit(move |_| Ok(number), move |n| told.lock().push(n.unwrap()))
            .unwrap();
    }
    remember(&store, "last", "1").await.unwrap();
    assert_eq!(*told.lock(), (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_damaged_database_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    remember(&store, "a", "1").await.unwrap();
    drop(store);
    let path = directory.path().join("state/callway.db");
    // The threads end after the last handle; their end writes the log back.
    while path.with_extension("db-wal").exists() {
        tokio::task::yield_now().await;
    }
    std::fs::write(
        &path,
        "no database at all, but long enough to be taken for one",
    )
    .unwrap();
    let store = open(&directory);
    assert!(names(&store).await.is_empty());
    remember(&store, "b", "2").await.unwrap();
}

#[tokio::test]
async fn of_a_channel_whose_events_are_all_too_old_nothing_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let age = std::time::Duration::from_secs(60);
    let bounds = crate::config::History {
        count: 9,
        age,
        bytes: 1000,
    };
    let now = unix_ms();
    for (channel, time) in [("old", now), ("new", now), ("unknown", now)] {
        let event = (uuid::Uuid::new_v4(), time, crate::call::Payload::text("x"));
        store
            .keep_event(channel.into(), event, bounds, |seq| assert!(seq.is_ok()))
            .unwrap();
    }
    let aged = "UPDATE event SET time = time - 61000 WHERE channel = 'old'";
    store.write(|db| db.execute(aged, [])).await.unwrap();
    let known = move |channel: &str| (channel != "unknown").then_some(bounds);
    assert_eq!(store.sweep_events(None, known).await.unwrap(), None);
    let left = store.read(|db| {
        let both =
            "SELECT group_concat(channel), (SELECT group_concat(name) FROM channel) FROM event";
        db.query_row(both, [], |row| Ok([row.get::<_, String>(0)?, row.get(1)?]))
    });
    assert_eq!(left.await.unwrap(), ["new".to_owned(), "new".to_owned()]);
}

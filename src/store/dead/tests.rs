//! Dead letters on disk: whole, bounded, counted.

use std::sync::Arc;

use serde_json::json;

use super::*;

struct Site {
    directory: tempfile::TempDir,
    metrics: Arc<Metrics>,
}

impl Site {
    fn new() -> Site {
        Site {
            directory: tempfile::tempdir().unwrap(),
            metrics: Arc::new(Metrics::new()),
        }
    }

    fn open(&self) -> Store {
        let path = self.directory.path().join("callway.db");
        Store::open(&path, &self.metrics).unwrap()
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|one| one == line)
    }
}

fn letter(name: &str) -> Letter {
    let headers = json!({"method": name, "Token": "cw_x", "authorization": "Bearer cw_x"});
    Letter {
        kind: LetterKind::Call,
        name: name.into(),
        source: "calls".into(),
        reason: "script_error: it threw".into(),
        headers: headers.as_object().unwrap().clone(),
        body: Bytes::from_static(b"\xff{}"),
        call_id: Some(CallId::new()),
        time: 7,
    }
}

fn names(letters: &[Buried]) -> Vec<&str> {
    let names = letters.iter().map(|buried| &*buried.letter.name);
    names.collect()
}

#[tokio::test]
async fn a_letter_comes_back_whole_but_for_credentials() {
    let site = Site::new();
    let store = site.open();
    let sent = letter("a");
    let id = store.bury(sent.clone(), 10).await.unwrap();
    drop(store);
    let store = site.open();
    let buried = store.dead_letter(id).await.unwrap().unwrap();
    let mut expected = sent;
    expected.headers = json!({"method": "a"}).as_object().unwrap().clone();
    assert_eq!((buried.letter, buried.bytes), (expected, 3));
    let listed = store.dead_letters(10, None).await.unwrap();
    assert!(listed[0].letter.body.is_empty() && listed[0].bytes == 3);
    assert!(store.dead_letter(id + 1).await.unwrap().is_none());
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many() {
    let site = Site::new();
    let store = site.open();
    for name in ["a", "b", "c", "d", "e"] {
        store.bury(letter(name), 3).await.unwrap();
    }
    let kept = store.dead_letters(10, None).await.unwrap();
    assert_eq!(names(&kept), ["e", "d", "c"]);
    assert!(site.shows("callway_dead_letters 3"));
    assert!(site.shows(r#"callway_dead_lettered_total{reason="script_error"} 5"#));
    assert!(site.shows(r#"callway_limit_reached_total{limit="dead_count"} 2"#));
    let page = store.dead_letters(1, Some(kept[0].id)).await.unwrap();
    assert_eq!(names(&page), ["d"]);
}

#[tokio::test]
async fn those_that_come_together_are_bounded_too() {
    let site = Site::new();
    let store = site.open();
    let all = (0..500).map(|n| store.bury(letter(&n.to_string()), 3));
    let ids = futures_util::future::join_all(all).await;
    assert!(ids.iter().all(Result::is_ok));
    let kept = store.dead_letters(10, None).await.unwrap();
    assert_eq!(names(&kept), ["499", "498", "497"]);
}

#[tokio::test]
async fn removed_ones_count_no_more() {
    let site = Site::new();
    let store = site.open();
    let first = store.bury(letter("a"), 10).await.unwrap();
    store.bury(letter("b"), 10).await.unwrap();
    assert!(store.remove_dead_letter(first).await.unwrap());
    assert!(!store.remove_dead_letter(first).await.unwrap());
    assert!(site.shows("callway_dead_letters 1"));
    drop(store);
    let store = site.open();
    assert!(site.shows("callway_dead_letters 1"));
    assert_eq!(store.purge_dead_letters().await.unwrap(), 1);
    assert!(site.shows("callway_dead_letters 0"));
    let next = store.bury(letter("c"), 10).await.unwrap();
    assert!(next > first + 1, "an id is given once");
}

#[test]
fn the_label_is_one_of_few() {
    for (reason, label) in [
        ("timeout: the deadline passed", "timeout"),
        ("unavailable", "unavailable"),
        ("made up: x", "other"),
        ("", "other"),
    ] {
        assert_eq!(word_of(reason), label);
    }
}

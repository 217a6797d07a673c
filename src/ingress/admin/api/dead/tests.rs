//! Dead letters that are tried again.

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::*;
use crate::store::{Letter, LetterKind};

fn api(directory: &tempfile::TempDir) -> Api {
    let config = crate::config::parse("", directory.path()).unwrap_or_else(|e| panic!("{e}"));
    Api::new(&Context::new(config).unwrap())
}

async fn bury(api: &Api, name: &str) -> String {
    let letter = Letter {
        kind: LetterKind::Call,
        name: name.into(),
        source: "calls".into(),
        reason: "timeout: late".into(),
        headers: Map::new(),
        body: Bytes::from_static(b"{}"),
        call_id: None,
        time: 7,
    };
    let id = api.context.store.bury(letter, 10).await.unwrap();
    id.to_string()
}

async fn retry(api: &Api, id: &str) -> Result<u16, Kind> {
    let ask = Ask {
        verb: "POST",
        query: "",
        body: Bytes::new(),
    };
    let answer = api.retry_dead_letter(id, &ask).await;
    answer
        .map(|answer| answer.status)
        .map_err(|fault| fault.kind)
}

async fn left(api: &Api) -> usize {
    let letters = api.context.store.dead_letters(10, None).await;
    letters.unwrap().len()
}

/// Takes back letters named `good`, and tells of each that it was handed.
fn revive(api: &Api) -> Arc<parking_lot::Mutex<Vec<String>>> {
    let handed = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let told = handed.clone();
    let revive: Revive = Arc::new(move |letter: Letter| {
        told.lock().push(letter.name.clone());
        async move {
            tokio::task::yield_now().await;
            match letter.name.as_str() {
                "good" => Ok(()),
                _ => Err(Fault::new(Kind::Unavailable, "no")),
            }
        }
        .boxed()
    });
    api.context.revive.set(revive).ok().unwrap();
    handed
}

#[tokio::test]
async fn a_letter_that_cannot_be_taken_back_stays() {
    let directory = tempfile::tempdir().unwrap();
    let api = api(&directory);
    let id = bury(&api, "bad").await;
    assert_eq!(retry(&api, &id).await, Err(Kind::Unavailable), "by nobody");
    let handed = revive(&api);
    assert_eq!(retry(&api, &id).await, Err(Kind::Unavailable));
    assert_eq!((left(&api).await, handed.lock().len()), (1, 1));
    for id in ["7", "x", "-1", "18446744073709551615"] {
        assert_eq!(retry(&api, id).await, Err(Kind::MethodNotFound), "{id}");
    }
}

#[tokio::test]
async fn a_letter_is_taken_back_once_however_many_ask() {
    let directory = tempfile::tempdir().unwrap();
    let api = api(&directory);
    let handed = revive(&api);
    let id = bury(&api, "good").await;
    let both = tokio::join!(retry(&api, &id), retry(&api, &id));
    assert_eq!(both, (Ok(200), Err(Kind::MethodNotFound)));
    assert_eq!((left(&api).await, handed.lock().len()), (0, 1));
}

#[tokio::test]
async fn it_is_taken_back_although_whoever_asked_went_away() {
    let directory = tempfile::tempdir().unwrap();
    let api = api(&directory);
    let handed = revive(&api);
    let id = bury(&api, "good").await;
    let mut asked = Box::pin(retry(&api, &id));
    while handed.lock().is_empty() {
        assert!((&mut asked).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(asked);
    while left(&api).await > 0 {
        tokio::task::yield_now().await;
    }
}

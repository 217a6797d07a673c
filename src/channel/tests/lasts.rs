//! Last events that clients leave: on disk before they are acknowledged, and no longer there than
//! they may be.

use super::*;
use crate::call::unix_ms;

fn manner(qos: u8, expires: Option<u64>) -> Manner {
    Manner {
        from: 7,
        qos,
        empty: false,
        retain: true,
        expires,
        beside: Some(Arc::new(Beside {
            utf8: true,
            content_type: Some("text/plain".into()),
            response_topic: None,
            correlation: Some(bytes::Bytes::from_static(b"\xff\x00")),
            user: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        })),
    }
}

impl House {
    async fn leave(&self, channel: &str, payload: &str, manner: &Manner) -> Result<(), Fault> {
        let publish = event(channel, payload.to_owned());
        let receipt = self.hub.publish_as(publish, manner)?;
        receipt.kept().await.map(drop)
    }

    fn lasts(&self) -> Vec<Last> {
        let all = Pattern::parse("{all...}").unwrap();
        self.hub.lasts(&anyone(), &all)
    }

    fn texts(&self) -> Vec<(String, String)> {
        let lasts = self.lasts().into_iter().map(|last| last.event);
        let texts = lasts.map(|event| {
            let payload = event.payload.as_json().into_owned();
            (event.channel.to_string(), payload)
        });
        texts.collect()
    }
}

/// A house that begins with what an earlier one left.
async fn again(directory: &Path, by_name: impl Fn(&str) -> Option<Caller>) -> House {
    let house = house(directory, ROWS);
    house.hub.restore_lasts(by_name).await;
    house
}

fn texts(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    let owned = pairs.map(|(channel, text)| ((*channel).to_owned(), (*text).to_owned()));
    owned.collect()
}

#[tokio::test]
async fn none_is_acknowledged_that_is_not_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let full = "PRAGMA max_page_count = 1"; // as many as there are
    let full = house
        .store
        .write(move |db| db.query_row(full, [], |_| Ok(())));
    full.await.unwrap();
    let large = "x".repeat(60_000);
    let refused = house.leave("live/a", &large, &manner(1, None)).await;
    assert_eq!(refused.map_err(|fault| fault.kind), Err(Kind::Unavailable));
    drop(house);
    assert!(again(directory.path(), |_| None).await.lasts().is_empty());
}

#[tokio::test]
async fn what_was_left_is_there_after_a_restart_as_it_was_left() {
    let directory = tempfile::tempdir().unwrap();
    let first = house(directory.path(), ROWS);
    let soon = unix_ms() + 60_000;
    first
        .leave("live/a", "{bad", &manner(2, None))
        .await
        .unwrap();
    first
        .leave("kept/a", "1", &manner(0, Some(soon)))
        .await
        .unwrap();
    first.leave("live/b", "b", &manner(1, None)).await.unwrap();
    let empty = Manner {
        empty: true,
        ..manner(1, None)
    };
    first.leave("live/b", "", &empty).await.unwrap();
    // What follows takes its place; what an MQTT client did not want to be retained does not.
    first.publish("kept/a", "2".into()).await;
    let passing = Manner {
        retain: false,
        ..manner(1, None)
    };
    first.leave("live/a", "passing", &passing).await.unwrap();
    drop(first);
    let second = again(directory.path(), |name| (name == "tester").then(anyone)).await;
    let expected = texts(&[("live/a", "\"{bad\""), ("kept/a", "2")]);
    assert_eq!(second.texts(), expected);
    let last = second.lasts().swap_remove(0);
    let kept = last.manner.unwrap();
    assert_eq!((kept.qos, kept.retain, kept.from), (2, true, 0));
    assert_eq!(kept.beside, manner(2, None).beside);
    assert!(second.lasts()[1].manner.is_none());
}

#[tokio::test]
async fn what_may_not_be_told_any_more_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let first = house(directory.path(), ROWS);
    let now = unix_ms();
    first
        .leave("live/old", "1", &manner(1, Some(now)))
        .await
        .unwrap();
    first.leave("live/a", "2", &manner(1, None)).await.unwrap();
    first.leave("kept/a", "3", &manner(1, None)).await.unwrap();
    assert_eq!(first.texts(), texts(&[("live/a", "2"), ("kept/a", "3")]));
    drop(first);
    // Who left it has lost the grant for one of the two.
    let second = again(directory.path(), |_| Some(caller("kept/{x}", "x"))).await;
    assert_eq!(second.texts(), texts(&[("kept/a", "3")]));
    drop(second);
    // It stays forgotten, whoever comes.
    let third = again(directory.path(), |_| Some(anyone())).await;
    assert_eq!(third.texts(), texts(&[("kept/a", "3")]));
    drop(third);
    assert!(again(directory.path(), |_| None).await.lasts().is_empty());
}

#[tokio::test]
async fn what_has_expired_has_no_place_for_others_to_take() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let expired = manner(1, Some(unix_ms()));
    house.leave("live/a", "1", &expired).await.unwrap();
    house.publish("live/a", "2".into()).await;
    assert!(house.lasts().is_empty(), "nobody wanted it to be retained");
}

#[tokio::test]
async fn what_a_broker_keeps_is_not_kept_twice() {
    let directory = tempfile::tempdir().unwrap();
    let first = house(directory.path(), ROWS);
    first.leave("live/a", "1", &manner(1, None)).await.unwrap();
    let told = |channel| Publish {
        origin: Origin::Bus {
            name: "field".into(),
            via: Via::Mqtt,
        },
        retained: true,
        ..event(channel, "told")
    };
    for channel in ["live/a", "live/b"] {
        first
            .hub
            .publish(told(channel))
            .unwrap()
            .kept()
            .await
            .unwrap();
    }
    first.publish("live/b", "news".into()).await;
    let expected = texts(&[("live/a", "\"told\""), ("live/b", "\"news\"")]);
    assert_eq!(first.texts(), expected);
    // Behind what that changes on disk.
    let empty = Manner {
        empty: true,
        ..manner(1, None)
    };
    first.leave("live/c", "", &empty).await.unwrap();
    drop(first);
    let second = again(directory.path(), |_| Some(anyone())).await;
    assert!(second.lasts().is_empty(), "the broker tells it again");
}

#[tokio::test]
async fn they_are_bounded_with_all_that_belongs_to_them() {
    let directory = tempfile::tempdir().unwrap();
    let first = house(directory.path(), ROWS);
    let large = |number: usize| Manner {
        beside: Some(Arc::new(Beside {
            user: vec![("x".into(), number.to_string().repeat(400_000))],
            ..Beside::default()
        })),
        ..manner(1, None)
    };
    for number in 10..60 {
        let channel = format!("live/{number}");
        first.leave(&channel, "1", &large(number)).await.unwrap();
    }
    let left: Vec<_> = (40..60).map(|number| format!("live/{number}")).collect();
    let names = |house: &House| -> Vec<_> {
        let lasts = house.lasts().into_iter();
        lasts.map(|last| last.event.channel.to_string()).collect()
    };
    assert_eq!(names(&first), left);
    let page = first.hub.metrics.render();
    let full = "callway_limit_reached_total{limit=\"last_events\"} 30\n";
    assert!(page.contains(full), "{page}");
    drop(first);
    let second = again(directory.path(), |_| Some(anyone())).await;
    assert_eq!(names(&second), left, "on disk as well");
}

#[tokio::test]
async fn the_sweep_takes_what_has_expired_from_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    house
        .leave("live/a", "1", &manner(1, Some(unix_ms())))
        .await
        .unwrap();
    house.leave("live/b", "2", &manner(1, None)).await.unwrap();
    house.hub.lasts.sweep();
    // Behind what the sweep changes.
    house.leave("live/c", "3", &manner(1, None)).await.unwrap();
    let kept = house.store.lasts().await.unwrap();
    let kept: Vec<_> = kept.iter().map(|last| &*last.channel).collect();
    assert_eq!(kept, ["live/b", "live/c"]);
}

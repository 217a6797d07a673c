//! The hub and its readers, without any transport.

mod history;
mod lasts;

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::auth::{Caller, Grants, Token, digest};
use crate::call::{Fault, Kind, Payload, Via};
use crate::config::{Channel, parse};
use crate::observe::Metrics;
use crate::router::Pattern;
use crate::store::Store;

const ROWS: &str = r#"
    [[channel]]
    name = "live/{x}"
    [[channel]]
    name = "kept/{x}"
    history = { count = 5000, bytes = "10MiB", age = "1h" }
    [[channel]]
    name = "short/{x}"
    history = { count = 3, bytes = "100KiB", age = "1h" }
    [limits]
    message = "64KiB"
    hops = 3
"#;

struct House {
    hub: Arc<Hub>,
    store: Store,
}

fn house(directory: &Path, rows: &str) -> House {
    let config = parse(rows, Path::new("/nonexistent")).unwrap();
    let metrics = Arc::new(Metrics::new());
    let store = Store::open(&directory.join("db"), &metrics).unwrap();
    let hub = Hub::new(&config, &store, &metrics).unwrap();
    House { hub, store }
}

fn caller(publish: &str, subscribe: &str) -> Caller {
    let patterns = |text: &str| vec![Pattern::parse(text).unwrap()];
    Caller::new(Arc::new(Token {
        name: "tester".into(),
        digest: digest("t"),
        grants: Grants {
            publish: patterns(publish),
            subscribe: patterns(subscribe),
            ..Grants::default()
        },
        admin: false,
    }))
}

fn anyone() -> Caller {
    caller("{all...}", "{all...}")
}

fn event(channel: &str, payload: impl Into<bytes::Bytes>) -> Publish {
    Publish {
        channel: channel.into(),
        payload: Payload::from_body(payload, None),
        origin: Origin::Client {
            caller: anyone(),
            via: Via::Ws,
        },
        id: None,
        hops: 0,
        traceparent: None,
        retained: false,
    }
}

impl House {
    fn reader(&self) -> Subscriber {
        self.hub.subscriber(anyone(), 200_000)
    }

    async fn publish(&self, channel: &str, payload: String) -> Position {
        let receipt = self.hub.publish(event(channel, payload)).unwrap();
        receipt.kept().await.unwrap().position.unwrap()
    }
}

async fn next(reader: &mut Subscriber) -> Happened {
    let next = poll_fn(|cx| reader.poll_next(cx));
    let next = tokio::time::timeout(Duration::from_secs(10), next).await;
    next.expect("nothing more happens")
}

async fn join(reader: &mut Subscriber, channel: &str, since: Option<Position>) -> Subscribed {
    reader.subscribe(7, &channel.into(), since).unwrap();
    match next(reader).await {
        Happened::Subscribed(7, subscribed) => subscribed.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn payload(reader: &mut Subscriber) -> String {
    match next(reader).await {
        Happened::Event(placed) => placed.event.payload.as_json().into_owned(),
        other => panic!("{other:?}"),
    }
}

async fn is_quiet(reader: &mut Subscriber) -> bool {
    // Whatever is on its way from the store arrives before the answer to this.
    let channel: Arc<str> = "kept/quiet".into();
    reader.unsubscribe(&channel);
    reader.subscribe(99, &channel, None).unwrap();
    matches!(next(reader).await, Happened::Subscribed(99, Ok(_)))
}

#[tokio::test]
async fn what_must_not_be_is_refused_in_the_order_of_checks() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let refused = |publish: Publish| house.hub.publish(publish).unwrap_err().kind;
    let powerless = |channel: &str| Publish {
        origin: Origin::Client {
            caller: caller("other", "other"),
            via: Via::Ws,
        },
        ..event(channel, "1")
    };
    assert_eq!(refused(powerless("live/+")), Kind::InvalidRequest);
    assert_eq!(refused(powerless("nowhere")), Kind::Forbidden);
    assert_eq!(refused(powerless("live/a")), Kind::Forbidden);
    assert_eq!(refused(event("nowhere", "1")), Kind::MethodNotFound);
    assert_eq!(refused(event("callway.x", "1")), Kind::InvalidRequest);
    let large = event("live/a", vec![b'x'; 64 * 1024 + 1]);
    assert_eq!(refused(large), Kind::TooLarge);
    let mut far = event("live/a", "1");
    far.hops = 4;
    assert_eq!(refused(far), Kind::InvalidRequest);
    let mut reader = house.hub.subscriber(caller("x", "live/a"), 1000);
    let mut join = |channel: &str| reader.subscribe(1, &channel.into(), None);
    assert_eq!(join("kept/a").unwrap_err().kind, Kind::Forbidden);
    assert!(join("live/a").is_ok());
    house.hub.drain();
    assert_eq!(refused(event("live/a", "1")), Kind::ShuttingDown);
}

#[tokio::test]
async fn live_events_come_in_order_and_no_longer_than_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let mut reader = house.reader();
    let joined = join(&mut reader, "live/a", None).await;
    assert!(!joined.recovered);
    for payload in ["1", "{'not':json}", "\"on\""] {
        house.publish("live/a", payload.into()).await;
    }
    house.publish("live/b", "4".into()).await;
    assert_eq!(payload(&mut reader).await, "1");
    assert_eq!(payload(&mut reader).await, "\"{'not':json}\"");
    house.publish("live/a", "5".into()).await;
    assert!(reader.unsubscribe("live/a"));
    assert!(!reader.unsubscribe("live/a"));
    house.publish("live/a", "6".into()).await;
    assert!(is_quiet(&mut reader).await);
    join(&mut reader, "live/a", None).await;
    house.publish("live/a", "7".into()).await;
    assert_eq!(payload(&mut reader).await, "7");
}

#[tokio::test]
async fn without_history_recovered_means_that_surely_nothing_happened() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let first = house.publish("live/a", "1".into()).await;
    let recovered = async |since| {
        let joined = join(&mut house.reader(), "live/a", Some(since)).await;
        joined.recovered
    };
    assert!(recovered(first).await);
    let second = house.publish("live/a", "2".into()).await;
    assert!(!recovered(first).await);
    let mut keeper = house.reader();
    join(&mut keeper, "live/a", None).await;
    assert!(recovered(second).await);
    assert!(!recovered(first).await);
    house.publish("live/a", "3".into()).await;
    assert!(!recovered(second).await);
    let foreign = Position {
        epoch: second.epoch + 1,
        ..second
    };
    assert!(!recovered(foreign).await);
}

#[tokio::test]
async fn a_slow_reader_is_cut_and_nobody_else_notices() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let (mut slow, mut quick) = (house.reader(), house.reader());
    for reader in [&mut slow, &mut quick] {
        join(reader, "live/a", None).await;
    }
    let text = format!("\"{}\"", "x".repeat(10_000));
    for _ in 0..100 {
        house.publish("live/a", text.clone()).await;
        assert_eq!(payload(&mut quick).await, text);
    }
    assert!(matches!(next(&mut slow).await, Happened::Overrun));
    let mut one = house.hub.subscriber(anyone(), 10);
    join(&mut one, "live/a", None).await;
    house.publish("live/a", text.clone()).await;
    assert_eq!(payload(&mut one).await, text, "one alone may be larger");
}

#[tokio::test]
async fn ten_thousand_channels_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let mut readers: Vec<_> = (0..10).map(|_| house.reader()).collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        for index in 0..1000 {
            let channel = format!("live/{number}-{index}").into();
            reader.subscribe(1, &channel, None).unwrap();
        }
        let one_more = reader.subscribe(1, &"live/more".into(), None);
        assert_eq!(one_more.unwrap_err().kind, Kind::Overloaded);
    }
    assert_eq!(house.hub.live.len(), 10_000);
    for index in 0..1000 {
        assert!(readers[0].unsubscribe(&format!("live/0-{index}")));
    }
    assert_eq!(house.hub.live.len(), 9_000);
    drop(readers);
    assert_eq!(house.hub.live.len(), 0);
    let mut reader = house.reader();
    for index in 0..10_000 {
        let channel = format!("live/{index}");
        join(&mut reader, &channel, None).await;
        reader.unsubscribe(&channel);
    }
    assert_eq!(house.hub.live.len(), 0);
    let page = house.hub.metrics.render();
    assert!(page.contains("callway_subscriptions 0\n"), "{page}");
}

#[tokio::test]
async fn a_retained_message_is_the_last_event_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let mut reader = house.reader();
    join(&mut reader, "kept/a", None).await;
    let retained = |payload: &'static str| Publish {
        origin: Origin::Bus {
            name: "field".into(),
            via: Via::Mqtt,
        },
        retained: true,
        ..event("kept/a", payload)
    };
    let kept = house.hub.publish(retained("21")).unwrap().kept().await;
    assert_eq!(kept.unwrap().position, None);
    assert!(is_quiet(&mut reader).await);
    let last = async || {
        let query = Query {
            channel: "kept/a".into(),
            count: None,
            since: None,
        };
        let past = house.hub.history(&anyone(), query).await.unwrap();
        (
            past.events.len(),
            past.last.unwrap().payload.as_json().into_owned(),
        )
    };
    assert_eq!(last().await, (0, "21".into()));
    house.publish("kept/a", "22".into()).await;
    assert_eq!(last().await, (1, "22".into()));
}

/// Refuses what is `"no"`; keeps the rest once told to.
struct Gate(tokio::sync::watch::Receiver<bool>);

impl Outward for Gate {
    fn forward(
        &self,
        event: &Event,
        row: &Arc<Channel>,
        _origin: &Origin,
    ) -> Result<Option<Forwarded>, Fault> {
        assert!(row.pattern.matches(&event.channel));
        if event.payload.as_json() == "\"no\"" {
            return Err(Fault::unavailable("storage_full", "the spool is full"));
        }
        let mut open = self.0.clone();
        let kept: BoxFuture<'static, _> = async move {
            open.wait_for(|open| *open).await.unwrap();
            Ok(())
        }
        .boxed();
        let delivered = Some(std::future::ready(event.payload.as_json() == "1").boxed());
        Ok(Some(Forwarded { kept, delivered }))
    }
}

#[tokio::test]
async fn an_event_is_acknowledged_once_it_is_on_its_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let house = house(directory.path(), ROWS);
    let (open, gate) = tokio::sync::watch::channel(false);
    house.hub.set_outward(Arc::new(Gate(gate)));
    let mut reader = house.reader();
    join(&mut reader, "kept/a", None).await;
    let refused = house.hub.publish(event("kept/a", "no")).unwrap_err();
    assert_eq!(refused.kind, Kind::Unavailable);
    let receipt = house.hub.publish(event("kept/a", "1")).unwrap();
    assert_eq!(
        payload(&mut reader).await,
        "1",
        "readers do not wait for it"
    );
    let mut kept = Box::pin(receipt.kept());
    assert!((&mut kept).now_or_never().is_none());
    open.send(true).unwrap();
    assert!(kept.await.unwrap().delivered);
    let spooled = house.hub.publish(event("live/a", "2")).unwrap();
    assert!(!spooled.kept().await.unwrap().delivered);
}

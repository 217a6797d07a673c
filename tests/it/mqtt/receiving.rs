//! What comes in is taken once it is safe, and is missed by nobody: over the end of callway, of
//! the broker, of one connection, and over a change of the configuration.

use std::collections::BTreeMap;

use callway::observe::LinkState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::inside::{Home, Inside, bus_of};
use crate::support::{Message, Mosquitto, Mqtt, Version};

const BOTH: [Version; 2] = [Version::V5, Version::V4];

/// Publishes at QoS 1, each acknowledged by the broker.
async fn publish(broker: &Mosquitto, topic: &str, texts: impl IntoIterator<Item = usize>) {
    let mut client = Mqtt::connect(broker.port, Version::V5).await;
    for text in texts {
        let mut message = Message::new(topic, text.to_string());
        message.qos = 1;
        client.publish(&message).await.unwrap();
    }
}

async fn take_and_acknowledge(inside: &mut Inside, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let taken = inside.next().await;
        taken.receipt.ack();
        texts.push(taken.text);
    }
    texts
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn what_came_while_callway_was_away_is_taken_after() {
    for version in BOTH {
        let broker = Mosquitto::start().await;
        let home = Home::new();
        let inside = home.start(&broker.url(), version, &["t/{device}"]);
        inside.up().await;
        inside.end().await;
        publish(&broker, "t/7", 0..3).await;
        publish(&broker, "call/a/b", 3..5).await;
        let mut inside = home.start(&broker.url(), version, &["t/{device}"]);
        assert_eq!(take_and_acknowledge(&mut inside, 5).await, texts(0..5));
        inside.end().await;

        let mut inside = home.start(&broker.url(), version, &["t/{device}"]);
        inside.up().await;
        inside.nothing_more().await;
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_when_the_broker_is_back() {
    for version in BOTH {
        let mut broker = Mosquitto::start_keeping().await;
        let home = Home::new();
        let mut inside = home.start(&broker.url(), version, &["t/{device}"]);
        inside.up().await;
        publish(&broker, "t/7", 0..10).await;
        assert_eq!(take_and_acknowledge(&mut inside, 4).await, texts(0..4));
        let mut held = inside.take(6).await;
        // What the broker has not read when it ends, it sends again.
        let log = broker.log();
        crate::eventually!({
            let log = std::fs::read_to_string(&log).unwrap();
            let told = "Received PUBACK from callway-gw-1-field-in";
            log.matches(told).count() == 4
        });
        broker.stop().await;
        crate::eventually!(inside.context.links.all()["field"] == LinkState::Down);
        // Two settled while nobody could be told; one that could not be kept.
        held.remove(0).receipt.ack();
        held.remove(0).receipt.ack();
        drop(held.pop());
        broker.restart().await;

        let again = inside.next().await;
        assert_eq!(again.text, "9", "the others are taken, or being taken");
        again.receipt.ack();
        inside.up().await;
        inside.nothing_more().await;
        publish(&broker, "t/7", 10..11).await;
        assert_eq!(take_and_acknowledge(&mut inside, 1).await, ["10"]);

        // Three are still held. Whoever comes next gets them, and what came after them, because a
        // broker is told in order.
        inside.end().await;
        let mut next = home.start(&broker.url(), version, &["t/{device}"]);
        let expected = ["6", "7", "8", "9", "10"];
        assert_eq!(take_and_acknowledge(&mut next, 5).await, expected);
        next.end().await;
        let mut last = home.start(&broker.url(), version, &["t/{device}"]);
        last.up().await;
        last.nothing_more().await;
    }
}

#[tokio::test]
async fn a_message_that_could_not_be_kept_comes_again_and_the_others_do_not() {
    for version in BOTH {
        let broker = Mosquitto::start().await;
        let mut inside = Home::new().start(&broker.url(), version, &["t/{device}"]);
        inside.up().await;
        let mut seen = BTreeMap::<String, u32>::new();
        publish(&broker, "t/7", 0..20).await;
        let mut open = 20;
        while open > 0 {
            let taken = inside.next().await;
            let times = seen.entry(taken.text.clone()).or_default();
            *times += 1;
            // Every fifth is refused two times.
            let number: u32 = taken.text.parse().unwrap();
            if number.is_multiple_of(5) && *times < 3 {
                drop(taken.receipt);
            } else {
                taken.receipt.ack();
                open -= 1;
            }
        }
        inside.nothing_more().await;
        for (text, times) in &seen {
            let number: u32 = text.parse().unwrap();
            let wanted = if number.is_multiple_of(5) { 3 } else { 1 };
            assert_eq!(*times, wanted, "{text}: {seen:?}");
        }
        inside.up().await;
    }
}

#[tokio::test]
async fn more_than_can_be_kept_waits_at_the_broker() {
    const MANY: usize = 6000; // more than may wait in memory
    let broker = Mosquitto::start().await;
    let mut inside = Home::new().start(&broker.url(), Version::V5, &["t/{device}"]);
    inside.up().await;
    publish(&broker, "t/7", 0..MANY).await;
    let full = r#"callway_limit_reached_total{limit="mqtt_unsettled"}"#;
    crate::eventually!(inside.metric(full) > 0);
    // Not up while nothing more is taken; and nothing that is held comes twice.
    crate::eventually!(inside.context.links.all()["field"] == LinkState::Down);
    assert_eq!(
        take_and_acknowledge(&mut inside, MANY).await,
        texts(0..MANY)
    );
    inside.nothing_more().await;
    inside.up().await;
}

#[tokio::test]
async fn what_the_broker_keeps_is_told_from_news() {
    let broker = Mosquitto::start().await;
    let mut client = Mqtt::connect(broker.port, Version::V5).await;
    let mut last = Message::new("t/7", "last");
    last.retain = true;
    client.publish(&last).await.unwrap();
    let mut call = Message::new("call/a", "call");
    call.retain = true;
    client.publish(&call).await.unwrap();
    let mut inside = Home::new().start(&broker.url(), Version::V5, &["t/{device}"]);
    inside.up().await;
    let taken = inside.next().await;
    assert_eq!((taken.text.as_str(), taken.retained), ("last", true));
    taken.receipt.ack();
    client.publish(&last).await.unwrap();
    let taken = inside.next().await;
    assert!(!taken.retained, "this one is news");
    taken.receipt.ack();
    inside.nothing_more().await;
}

#[tokio::test]
async fn what_no_channel_wants_any_more_is_unsubscribed() {
    for version in BOTH {
        let broker = Mosquitto::start().await;
        let home = Home::new();
        let before = home.start(&broker.url(), version, &["old/{x}", "t/{x}"]);
        before.up().await;
        before.end().await;
        publish(&broker, "old/1", 0..1).await;
        publish(&broker, "t/1", 1..2).await;

        let mut inside = home.start(&broker.url(), version, &["t/{x}"]);
        assert_eq!(take_and_acknowledge(&mut inside, 1).await, ["1"]);
        crate::eventually!(inside.dropped("not_subscribed") == 1);
        inside.up().await;
        crate::eventually!({
            publish(&broker, "old/1", 2..3).await;
            publish(&broker, "t/1", 3..4).await;
            let before = inside.dropped("not_subscribed");
            take_and_acknowledge(&mut inside, 1).await;
            inside.dropped("not_subscribed") == before
        });
        inside.end().await;

        // Where nothing is wanted at all, the broker has nothing to keep.
        assert!(keeps_a_session(&broker).await);
        let nothing = home.start_with(home.config(&broker.url(), version, &[]), false);
        crate::eventually!(!keeps_a_session(&broker).await);
        nothing.up().await;
        nothing.end().await;
    }
}

/// Whether the broker would go on with a session of the client that receives; leaves it there.
async fn keeps_a_session(broker: &Mosquitto) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", broker.port))
        .await
        .unwrap();
    let id = b"callway-gw-1-field-in";
    // MQTT 3.1.1, no clean session.
    let mut connect = vec![0x10, 12 + id.len() as u8, 0, 4];
    connect.extend(b"MQTT\x04\x00\x00\x3c");
    connect.extend([0, id.len() as u8]);
    connect.extend(id);
    stream.write_all(&connect).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    let kept = answer[2] == 1;
    if !kept {
        // What this visit began ends with it.
        let mut stream = TcpStream::connect(("127.0.0.1", broker.port))
            .await
            .unwrap();
        connect[9] = 2;
        stream.write_all(&connect).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
    }
    kept
}

#[tokio::test]
async fn a_look_at_the_broker_takes_nothing_from_what_it_keeps() {
    let broker = Mosquitto::start().await;
    let home = Home::new();
    let inside = home.start(&broker.url(), Version::V5, &["t/{x}"]);
    inside.up().await;
    inside.end().await;
    publish(&broker, "t/1", 0..1).await;
    let config = home.config(&broker.url(), Version::V5, &["t/{x}"]);
    let bus = bus_of(&config);
    let found = callway::link::mqtt::probe(&config, &bus).await.unwrap();
    assert!(found.contains("call/#") && found.contains("t/+"), "{found}");
    let mut inside = home.start(&broker.url(), Version::V5, &["t/{x}"]);
    assert_eq!(take_and_acknowledge(&mut inside, 1).await, ["0"]);
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost() {
    const MANY: usize = 3000;
    for version in BOTH {
        let mut broker = Mosquitto::start_keeping().await;
        let mut inside = Home::new().start(&broker.url(), version, &["t/{x}"]);
        inside.up().await;
        let home = Home::new();
        let mut config = home.config(&broker.url(), version, &[]);
        config.cluster.instance = "gw-2".into();
        let sender = home.start_with(config, false);
        let sends = tokio::spawn(async move {
            for first in (0..MANY).step_by(50) {
                let mut open: Vec<usize> = (first..first + 50).collect();
                while !open.is_empty() {
                    sender.link.sendable().await;
                    let sent = open
                        .iter()
                        .map(|number| sender.link.publish(event(*number)));
                    let outcomes = futures_util::future::join_all(sent).await;
                    let mut taken = outcomes.iter().map(Result::is_ok);
                    open.retain(|_| !taken.next().unwrap());
                }
            }
        });
        let outages = tokio::spawn(async move {
            for _ in 0..4 {
                tokio::time::sleep(std::time::Duration::from_millis(150)).await;
                broker.stop().await;
                broker.restart().await;
            }
            broker
        });
        let mut seen = vec![0_u32; MANY];
        while seen.contains(&0) {
            let taken = inside.next().await;
            let number: usize = taken.text.parse().unwrap();
            seen[number] += 1;
            // Some cannot be kept at the first try.
            if number.is_multiple_of(701) && seen[number] == 1 {
                drop(taken.receipt);
            } else {
                taken.receipt.ack();
            }
        }
        sends.await.unwrap();
        outages.await.unwrap();
        // Again at most once for each outage, each refusal, and each second try to publish.
        let most = seen.iter().max().unwrap();
        assert!(*most <= 12, "one came {most} times");
    }
}

/// An event at QoS 1 or 2.
fn event(number: usize) -> callway::link::mqtt::Message {
    callway::link::mqtt::Message {
        topic: "t/1".into(),
        payload: number.to_string().into(),
        qos: 1 + (number % 2) as u8,
        ..Default::default()
    }
}

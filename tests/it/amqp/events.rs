//! Events over AMQP: out, confirmed by the broker; in, from a queue that is bound to what channels
//! want.

use std::time::Duration;

use callway::call::Kind;
use callway::link::amqp::Header;
use callway::observe::LinkState;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::bridge::reason;
use super::inside::{Home, Inside};
use crate::support::{Amqp, PATIENCE, Rabbit, header};

const T: (&str, &str, &str) = ("t/{x}", "amq.topic", "t.{x}");

async fn declare_exchange(channel: &Channel, name: &str) {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let asked = channel.exchange_declare(
        name.into(),
        ExchangeKind::Topic,
        durable,
        FieldTable::default(),
    );
    asked.await.unwrap();
}

/// A durable queue, bound to an exchange.
async fn declare_queue(channel: &Channel, name: &str, exchange: &str, more: FieldTable) {
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let asked = channel.queue_declare(name.into(), durable, more);
    asked.await.unwrap();
    let asked = channel.queue_bind(
        name.into(),
        exchange.into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    asked.await.unwrap();
}

async fn count(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let asked = channel.queue_declare(queue.into(), passive, FieldTable::default());
    asked.await.unwrap().message_count()
}

#[tokio::test]
async fn an_event_is_done_when_the_broker_has_it() {
    let rabbit = Rabbit::shared().await;
    let inside = Inside::start(&Home::new(), &rabbit, &[("t/{x}", "news", "{x}")]);
    inside.link.sendable().await;
    // The exchange is not there.
    let fault = inside.publish("news", "a", "1").await.unwrap_err();
    assert_eq!(reason(&fault), "exchange");
    let client = Amqp::connect(&rabbit.url()).await;
    declare_exchange(&client.channel, "news").await;
    crate::eventually!(inside.publish("news", "nobody", "2").await.is_ok());

    declare_queue(&client.channel, "all", "news", FieldTable::default()).await;
    inside.publish("news", "a", "3").await.unwrap();
    let taken = client.channel.basic_consume(
        "all".into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let event = taken.await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(event.data, b"3");
    assert_eq!(*event.properties.delivery_mode(), Some(2));
    let origin = header(&event.properties, "callway-origin");
    assert_eq!(origin.as_deref(), Some("callway"));
}

#[tokio::test]
async fn a_queue_that_is_full_may_refuse() {
    let rabbit = Rabbit::shared().await;
    let client = Amqp::connect(&rabbit.url()).await;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongInt(1));
    let overflow = AMQPValue::LongString("reject-publish".into());
    full.insert("x-overflow".into(), overflow);
    declare_queue(&client.channel, "short", "amq.topic", full).await;
    let inside = Inside::start(&Home::new(), &rabbit, &[T]);
    inside.link.sendable().await;
    inside.publish("amq.topic", "x", "1").await.unwrap();
    let fault = inside.publish("amq.topic", "x", "2").await.unwrap_err();
    assert_eq!(fault.kind, Kind::Unavailable);
    assert_eq!(reason(&fault), "refused");
}

#[tokio::test]
async fn what_a_channel_wants_arrives_and_is_settled_once() {
    let rabbit = Rabbit::shared().await;
    let mut inside = Inside::start(&Home::new(), &rabbit, &[T]);
    inside.link_is(LinkState::Up).await;
    inside.publish("amq.topic", "u.1", "other").await.unwrap();
    inside
        .publish("amq.topic", "t.1.2", "deeper")
        .await
        .unwrap();
    for text in ["good", "bad", "again"] {
        inside.publish("amq.topic", "t.1", text).await.unwrap();
    }
    let good = inside.next().await;
    assert_eq!(good.message.body, "good");
    assert_eq!(good.message.exchange, "amq.topic");
    assert_eq!(good.message.routing_key, "t.1");
    let origin = good.message.header("callway-origin");
    assert_eq!(origin, Some(Header::Text("callway")));
    assert_eq!(good.message.header("hops"), Some(Header::Number(1)));
    good.delivery.ack();
    inside.next().await.delivery.reject();
    drop(inside.next().await);
    let again = inside.next().await;
    assert_eq!(again.message.body, "again");
    again.delivery.ack();
    inside.nothing_more().await;

    let client = Amqp::connect(&rabbit.url()).await;
    crate::eventually!(count(&client.channel, "callway.dead").await == 1);
    inside.end().await;
    assert_eq!(count(&client.channel, "callway.office.events").await, 0);
}

#[tokio::test]
async fn what_comes_while_callway_is_away_waits_in_the_queue() {
    let rabbit = Rabbit::shared().await;
    let home = Home::new();
    let inside = Inside::start(&home, &rabbit, &[T]);
    inside.link_is(LinkState::Up).await;
    inside.end().await;
    let client = Amqp::connect(&rabbit.url()).await;
    client
        .publish("amq.topic", "t.1", b"missed", Default::default())
        .await;
    let mut inside = Inside::start(&home, &rabbit, &[T]);
    let missed = inside.next().await;
    assert_eq!(missed.message.body, "missed");
    missed.delivery.ack();
}

#[tokio::test]
async fn what_no_channel_wants_any_more_is_unbound() {
    let rabbit = Rabbit::shared().await;
    let client = Amqp::connect(&rabbit.url()).await;
    let home = Home::new();
    let old = ("old/{x...}", "amq.topic", "old.{x}");
    let inside = Inside::start(&home, &rabbit, &[T, old]);
    inside.link_is(LinkState::Up).await;
    inside.end().await;

    let mut inside = Inside::start(&home, &rabbit, &[T]);
    inside.link_is(LinkState::Up).await;
    for key in ["old.1.2", "t.1"] {
        client
            .publish("amq.topic", key, b"", Default::default())
            .await;
    }
    let taken = inside.next().await;
    assert_eq!(taken.message.routing_key, "t.1");
    taken.delivery.ack();
    inside.end().await;

    // Where nothing is wanted at all, nothing fills the queue.
    let inside = Inside::start(&home, &rabbit, &[]);
    crate::eventually!({
        let before = count(&client.channel, "callway.office.events").await;
        client
            .publish("amq.topic", "t.1", b"", Default::default())
            .await;
        // Published on the same channel, so it is there now if it is to be.
        count(&client.channel, "callway.office.events").await == before
    });
    inside.link_is(LinkState::Up).await;
}

#[tokio::test]
async fn an_exchange_that_is_not_there_is_the_trouble_of_its_channels_alone() {
    let rabbit = Rabbit::shared().await;
    let news = ("news/{x}", "news", "{x}");
    let mut inside = Inside::start(&Home::new(), &rabbit, &[news, T]);
    inside.link_is(LinkState::Degraded).await;
    inside.publish("amq.topic", "t.1", "1").await.unwrap();
    inside.next().await.delivery.ack();

    let client = Amqp::connect(&rabbit.url()).await;
    declare_exchange(&client.channel, "news").await;
    inside.link_is(LinkState::Up).await;
    crate::eventually!(inside.publish("news", "a", "2").await.is_ok());
    let taken = inside.next().await;
    assert_eq!(taken.message.exchange, "news");
    taken.delivery.ack();
}

#[tokio::test]
async fn what_a_killed_broker_had_confirmed_is_there_and_the_rest_is_known_to_be_unknown() {
    let mut rabbit = Rabbit::own().await;
    let client = Amqp::connect(&rabbit.url()).await;
    let mut quorum = FieldTable::default();
    let kind = AMQPValue::LongString("quorum".into());
    quorum.insert("x-queue-type".into(), kind);
    declare_queue(&client.channel, "all", "amq.topic", quorum).await;
    drop(client);
    // RabbitMQ forgets a quorum queue that it is killed within moments of making.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let inside = Inside::start(&Home::new(), &rabbit, &[]);
    inside.link.sendable().await;
    let mut confirmed = Vec::new();
    for number in 0..300 {
        let text = number.to_string();
        inside.publish("amq.topic", "x", &text).await.unwrap();
        confirmed.push(text);
    }
    let under_way: Vec<_> = (300..1000)
        .map(|number| number.to_string())
        .map(|text| (inside.publish("amq.topic", "x", &text), text))
        .collect();
    rabbit.kill();
    let mut unknown = 0;
    for (sent, text) in under_way {
        match tokio::time::timeout(PATIENCE, sent).await.unwrap() {
            Ok(()) => confirmed.push(text),
            Err(fault) => {
                assert_eq!(fault.kind, Kind::Unavailable);
                let sent = reason(&fault) != "link_down";
                assert_eq!(fault.may_retry(), !sent, "{fault}");
                unknown += u32::from(sent);
            }
        }
    }
    assert!(unknown > 0, "it was killed in the middle");
    inside.link_is(LinkState::Down).await;
    let fault = inside.publish("amq.topic", "x", "").await.unwrap_err();
    assert_eq!(reason(&fault), "link_down");
    assert!(fault.may_retry());

    rabbit.restart().await;
    inside.link.sendable().await;
    inside.publish("amq.topic", "x", "last").await.unwrap();
    let client = Amqp::connect(&rabbit.url()).await;
    let taken = client.channel.basic_consume(
        "all".into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let mut taken = taken.await.unwrap();
    let mut found = Vec::new();
    while found.last().is_none_or(|last| last != "last") {
        let next = tokio::time::timeout(PATIENCE, taken.next()).await;
        let event = next.unwrap().unwrap().unwrap();
        found.push(String::from_utf8(event.data).unwrap());
    }
    let lost: Vec<_> = confirmed
        .iter()
        .filter(|text| !found.contains(text))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

//! What callway declares for what comes in.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::connect::{Open, answer};
use super::message::short;

/// The exchange for calls, whose routing keys are `call.` and the method with `.` for `/`.
pub const CALLS: &str = "callway";
/// Where messages end that nobody can use: an exchange, and the queue bound to it that keeps them.
pub const DEAD: &str = "callway.dead";
/// The exchange of RabbitMQ's MQTT, whose routing keys are topics with `.` for `/`.
pub const MQTT: &str = "amq.topic";
/// Deliveries of one message before the broker itself parks it.
const DELIVERIES: i32 = 20;

/// Declares the queue for calls, and binds it.
pub(super) async fn declare_calls(open: &Open, queue: &str) -> Result<(), String> {
    // On a channel of its own: whatever exists with other properties (406) closes that one, and
    // its text says what differs.
    let channel = open.channel().await?;
    exchange(&channel, CALLS, ExchangeKind::Topic).await?;
    dead_letters(&channel).await?;
    declare(&channel, queue).await?;
    bind(&channel, queue, CALLS, "call.#").await
}

/// Declares the queue for events.
pub(super) async fn declare_events(open: &Open, queue: &str) -> Result<(), String> {
    let channel = open.channel().await?;
    dead_letters(&channel).await?;
    declare(&channel, queue).await
}

async fn dead_letters(channel: &Channel) -> Result<(), String> {
    exchange(channel, DEAD, ExchangeKind::Fanout).await?;
    let asked = channel.queue_declare(DEAD.into(), kept(), quorum());
    answer("queue", asked).await?;
    bind(channel, DEAD, DEAD, "").await
}

/// A queue whose messages survive, and go to the dead letters instead of round and round.
async fn declare(channel: &Channel, queue: &str) -> Result<(), String> {
    let queue = short(queue).ok_or("the queue's name has more than 255 bytes")?;
    let mut arguments = quorum();
    arguments.insert("x-dead-letter-exchange".into(), text(DEAD));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERIES));
    let asked = channel.queue_declare(queue, kept(), arguments);
    answer("queue", asked).await.map(drop)
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), String> {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let asked = channel.exchange_declare(name.into(), kind, durable, FieldTable::default());
    answer("exchange", asked).await
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), String> {
    let options = QueueBindOptions::default();
    let (queue, exchange) = (short(queue).unwrap_or_default(), exchange.into());
    let asked = channel.queue_bind(queue, exchange, key.into(), options, FieldTable::default());
    answer("binding", asked).await
}

fn kept() -> QueueDeclareOptions {
    QueueDeclareOptions {
        durable: true,
        ..Default::default()
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

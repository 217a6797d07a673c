//! What callway declares for the calls that come in.

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use super::connect::{Open, answer};
use super::message::short;

/// The exchange for calls, whose routing keys are `call.` and the method with `.` for `/`.
pub const CALLS: &str = "callway";
/// Where messages end that are no calls: an exchange, and the queue bound to it that keeps them.
pub const DEAD: &str = "callway.dead";
/// The exchange of RabbitMQ's MQTT, whose routing keys are topics with `.` for `/`.
pub const MQTT: &str = "amq.topic";
/// Deliveries of one message before the broker itself parks it.
const DELIVERIES: i32 = 20;

/// Declares exchanges and queues on a channel of its own: whatever exists with other properties
/// (406) closes that one, and its text says what differs.
pub(super) async fn declare(open: &Open, queue: &str) -> Result<(), String> {
    let channel = open.channel().await?;
    let queue = short(queue).ok_or("the queue's name has more than 255 bytes")?;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    for (name, kind) in [(CALLS, ExchangeKind::Topic), (DEAD, ExchangeKind::Fanout)] {
        let asked = channel.exchange_declare(name.into(), kind, durable, FieldTable::default());
        answer("exchange", asked).await?;
    }
    let kept = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    let asked = channel.queue_declare(DEAD.into(), kept, arguments.clone());
    answer("queue", asked).await?;
    let asked = channel.queue_bind(
        DEAD.into(),
        DEAD.into(),
        "".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    answer("binding", asked).await?;

    arguments.insert("x-dead-letter-exchange".into(), text(DEAD));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERIES));
    let asked = channel.queue_declare(queue.clone(), kept, arguments);
    answer("queue", asked).await?;
    let asked = channel.queue_bind(
        queue,
        CALLS.into(),
        "call.#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    answer("binding", asked).await
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

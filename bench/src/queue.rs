//! An exchange with a durable queue behind it: who publishes to it with confirmation, and who
//! consumes what arrives.

use std::time::Duration;

use callway::call::beside;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Connection, Consumer, ExchangeKind, PublisherConfirm,
    message::Delivery,
};

use crate::Failure;
use crate::amqp::connect;

/// The exchange.
pub const EXCHANGE: &str = "bench.events";

const QUEUE: &str = "bench.arrivals";
/// The message is to survive the broker.
const PERSISTENT: u8 = 2;

/// Makes exchange and queue.
pub async fn declare(port: u16) -> Result<(), Failure> {
    let (_connection, channel) = connect(port).await?;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default();
    channel
        .exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, none.clone())
        .await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(QUEUE.into(), durable, none.clone())
        .await?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(QUEUE.into(), EXCHANGE.into(), "#".into(), options, none)
        .await?;
    Ok(())
}

/// The consumer behind the exchange.
pub struct Arrivals {
    _connection: Connection,
    channel: Channel,
    consumer: Consumer,
}

impl Arrivals {
    /// Begins to consume.
    pub async fn consume(port: u16) -> Result<Arrivals, Failure> {
        let (connection, channel) = connect(port).await?;
        channel.basic_qos(2000, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(QUEUE.into(), "".into(), options, FieldTable::default())
            .await?;
        Ok(Arrivals {
            _connection: connection,
            channel,
            consumer,
        })
    }

    /// Waits for a message. May be dropped while it waits.
    pub async fn next(&mut self) -> Result<Delivery, Failure> {
        let delivery = self.consumer.next().await.ok_or("the queue is gone")?;
        Ok(delivery?)
    }

    /// Takes a message, and all that came with it, and acknowledges them together.
    pub async fn take(
        &mut self,
        mut delivery: Delivery,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Failure> {
        loop {
            each(&delivery.data);
            match self.consumer.next().now_or_never().flatten() {
                Some(next) => delivery = next?,
                None => break,
            }
        }
        let all = BasicAckOptions { multiple: true };
        Ok(self.channel.basic_ack(delivery.delivery_tag, all).await?)
    }

    /// Whether something comes within this time; it is consumed.
    pub async fn came(&mut self, patience: Duration) -> Result<bool, Failure> {
        match tokio::time::timeout(patience, self.next()).await {
            Ok(delivery) => self.take(delivery?, |_| {}).await.map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

/// The floor: publishes to the exchange itself, persistent and confirmed.
pub struct Confirmed {
    _connection: Connection,
    channel: Channel,
    properties: BasicProperties,
    under_way: FuturesUnordered<PublisherConfirm>,
}

impl Confirmed {
    /// Connects, in confirm mode.
    pub async fn connect(port: u16) -> Result<Confirmed, Failure> {
        let (connection, channel) = connect(port).await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Confirmed {
            _connection: connection,
            channel,
            properties: properties(),
            under_way: FuturesUnordered::new(),
        })
    }

    /// Publishes a message.
    pub async fn publish(&mut self, key: &str, payload: &[u8]) -> Result<(), Failure> {
        let properties = self.properties.clone();
        let options = BasicPublishOptions::default();
        let confirm = self
            .channel
            .basic_publish(EXCHANGE.into(), key.into(), options, payload, properties)
            .await?;
        self.under_way.push(confirm);
        Ok(())
    }

    /// Waits until the broker confirms messages; says how many. May be dropped while it waits.
    pub async fn confirmed(&mut self) -> Result<usize, Failure> {
        let mut confirmed = 0;
        let mut next = self.under_way.next().await;
        while let Some(confirmation) = next {
            if confirmation?.is_nack() {
                return Err("the AMQP broker refused a message".into());
            }
            confirmed += 1;
            next = self.under_way.next().now_or_never().flatten();
        }
        Ok(confirmed)
    }
}

/// What stands beside the payload of an event from callway: the broker stores and reads it with
/// every message. The id is not new each time, which spares the floor that work.
fn properties() -> BasicProperties {
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut headers = FieldTable::default();
    headers.insert(beside::ORIGIN.into(), text("callway"));
    let id = text("01970000-0000-7000-8000-000000000000");
    headers.insert(beside::EVENT_ID.into(), id);
    headers.insert(beside::HOPS.into(), AMQPValue::LongLongInt(1));
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers)
        .with_delivery_mode(PERSISTENT)
}

//! Receivers: what arrives is written into the ledger.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::ledger::Ledger;
use crate::support::{Mqtt, Version, headers};

/// Keeps what callway publishes over AMQP until it is taken out after the faults, so that a
/// broker's own redeliveries look like nobody's duplicates.
const SINK: &str = "sink";
/// Before a lost broker is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// A task that ends on drop.
pub struct Receiver(JoinHandle<()>);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Subscribes to what callway publishes over MQTT.
pub async fn subscribe(port: u16, ledger: &Ledger) -> Receiver {
    let mut client = Mqtt::connect(port, Version::V5).await;
    client.subscribe("out/#").await;
    let ledger = ledger.clone();
    Receiver(tokio::spawn(async move {
        while let Some(message) = client.recv().await {
            ledger.deliver(&message.payload);
        }
    }))
}

/// Makes the queue behind the exchange that callway publishes to.
pub async fn make_sink(url: &str) {
    let (_connection, channel) = open(url).await.unwrap();
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let none = FieldTable::default;
    let exchange = channel.exchange_declare("out".into(), ExchangeKind::Topic, durable, none());
    exchange.await.unwrap();
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let quorum = headers(&[("x-queue-type", "quorum")]);
    let queue = channel.queue_declare(SINK.into(), durable, quorum);
    queue.await.unwrap();
    let all = QueueBindOptions::default();
    let bound = channel.queue_bind(SINK.into(), "out".into(), "#".into(), all, none());
    bound.await.unwrap();
}

/// Takes out of the queue what is there, and what comes.
pub fn drain_sink(url: &str, ledger: &Ledger) -> Receiver {
    let (url, ledger) = (url.to_owned(), ledger.clone());
    Receiver(tokio::spawn(async move {
        while drain(&url, &ledger).await.is_err() {
            sleep(RETRY).await;
        }
    }))
}

async fn drain(url: &str, ledger: &Ledger) -> lapin::Result<()> {
    let (_connection, channel) = open(url).await?;
    channel.basic_qos(500, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(SINK.into(), "".into(), options, FieldTable::default());
    let mut consumer = consumer.await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        ledger.deliver(&delivery.data);
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

async fn open(url: &str) -> lapin::Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

//! AMQP 0.9.1: the floor client that uses direct reply-to itself, and the responder that both it
//! and callway ask.

use std::time::Instant;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use tokio::task::JoinSet;

use crate::Failure;
use crate::load::{Load, Measured, Tally, sum};
use crate::wire::{PARAMS, number};

/// The queue that the responder answers.
pub const QUEUE: &str = "bench.rpc";

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// A connection with one channel.
pub async fn connect(port: u16) -> Result<(Connection, Channel), Failure> {
    let url = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// A client of its own connection.
pub struct Floor {
    _connection: Connection,
    channel: Channel,
    replies: Consumer,
}

impl Floor {
    /// Connects and waits for replies.
    pub async fn connect(port: u16) -> Result<Floor, Failure> {
        let (connection, channel) = connect(port).await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let replies = channel
            .basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default())
            .await?;
        Ok(Floor {
            _connection: connection,
            channel,
            replies,
        })
    }

    async fn request(&self, slot: usize) -> Result<(), Failure> {
        let properties = BasicProperties::default()
            .with_reply_to(REPLY_TO.into())
            .with_correlation_id(slot.to_string().into());
        self.channel
            .basic_publish(
                "".into(),
                QUEUE.into(),
                BasicPublishOptions::default(),
                PARAMS.as_bytes(),
                properties,
            )
            .await?;
        Ok(())
    }

    async fn run(mut self, load: Load, start: Instant) -> Result<Tally, Failure> {
        let mut tally = Tally::new(start, load);
        let mut sent = vec![start; load.in_flight];
        for (slot, at) in sent.iter_mut().enumerate() {
            *at = Instant::now();
            self.request(slot).await?;
        }
        let mut waiting = load.in_flight;
        while waiting > 0 {
            let reply = self
                .replies
                .next()
                .await
                .ok_or("the channel was closed")??;
            let id = reply.properties.correlation_id().as_ref();
            let slot = number(id.ok_or("a reply without correlation")?.as_str().as_bytes());
            let now = Instant::now();
            waiting -= 1;
            if tally.reply(sent[slot], now) {
                sent[slot] = now;
                self.request(slot).await?;
                waiting += 1;
            }
        }
        Ok(tally)
    }
}

/// Runs the load, one connection for each client.
pub async fn run(clients: Vec<Floor>, load: Load) -> Result<Measured, Failure> {
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    for client in clients {
        lanes.spawn(client.run(load, start));
    }
    let mut tallies = Vec::new();
    while let Some(tally) = lanes.join_next().await {
        tallies.push(tally??);
    }
    sum(tallies, load)
}

/// Answers each request with its own payload.
pub async fn respond(port: u16) -> Result<(), Failure> {
    let (_connection, channel) = connect(port).await?;
    channel
        .queue_declare(
            QUEUE.into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;
    channel.basic_qos(256, BasicQosOptions::default()).await?;
    let mut requests = channel
        .basic_consume(
            QUEUE.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    println!("ready");
    while let Some(request) = requests.next().await {
        let request = request?;
        if let Some(reply_to) = request.properties.reply_to() {
            let mut properties = BasicProperties::default();
            if let Some(id) = request.properties.correlation_id() {
                properties = properties.with_correlation_id(id.clone());
            }
            channel
                .basic_publish(
                    "".into(),
                    reply_to.clone(),
                    BasicPublishOptions::default(),
                    &request.data,
                    properties,
                )
                .await?;
        }
        request.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

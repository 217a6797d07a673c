//! AMQP 0.9.1: the floor client that uses direct reply-to itself, and the responder that both it
//! and callway ask.

use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, PublisherConfirm,
};
use tokio::task::JoinSet;

use crate::Failure;
use crate::load::{Load, Measured, Tally, sum};
use crate::wire::{CALL_ID, Extras, PARAMS, number};

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
    extras: Extras,
    replies: Consumer,
    confirmed: FuturesUnordered<PublisherConfirm>,
}

impl Floor {
    /// Connects and waits for replies.
    pub async fn connect(port: u16, extras: Extras) -> Result<Floor, Failure> {
        let (connection, channel) = connect(port).await?;
        if extras == Extras::All {
            let options = ConfirmSelectOptions::default();
            channel.confirm_select(options).await?;
        }
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
            extras,
            replies,
            confirmed: FuturesUnordered::new(),
        })
    }

    async fn request(&mut self, slot: usize) -> Result<(), Failure> {
        let mut properties = BasicProperties::default()
            .with_reply_to(REPLY_TO.into())
            .with_correlation_id(slot.to_string().into());
        let mut options = BasicPublishOptions::default();
        if self.extras == Extras::All {
            options.mandatory = true;
            let mut headers = FieldTable::default();
            headers.insert("call-id".into(), AMQPValue::LongString(CALL_ID.into()));
            headers.insert("deadline".into(), AMQPValue::LongLongInt(1_795_800_000_000));
            headers.insert("hops".into(), AMQPValue::LongLongInt(1));
            properties = properties
                .with_correlation_id(format!("{slot:032}").into())
                .with_content_type("application/json".into())
                .with_type("bench/amqp".into())
                .with_expiration("30000".into())
                .with_headers(headers);
        }
        let confirmed = self
            .channel
            .basic_publish(
                "".into(),
                QUEUE.into(),
                options,
                PARAMS.as_bytes(),
                properties,
            )
            .await?;
        if self.extras == Extras::All {
            self.confirmed.push(confirmed);
        }
        Ok(())
    }

    /// The next reply. Confirmations are taken as they come.
    async fn reply(&mut self) -> Result<Delivery, Failure> {
        loop {
            tokio::select! {
                biased;
                Some(confirmation) = self.confirmed.next() => drop(confirmation?),
                reply = self.replies.next() => return Ok(reply.ok_or("the channel was closed")??),
            }
        }
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
            let reply = self.reply().await?;
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

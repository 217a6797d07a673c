//! An AMQP 0.9.1 client for tests: calls with a reply queue, and responders.

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};

use super::PATIENCE;

/// A connection with one channel and a reply queue of its own (`amq.gen-…`).
pub struct Amqp {
    /// The channel, for what the helpers do not do.
    pub channel: Channel,
    /// The name of the reply queue.
    pub reply_queue: String,
    replies: Consumer,
    _connection: Connection,
}

/// A reply with what matters of its properties.
#[derive(Debug)]
pub struct AmqpReply {
    /// The header `status`.
    pub status: Option<String>,
    /// The property `correlation_id`.
    pub correlation: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl AmqpReply {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text:?}"))
    }
}

impl Amqp {
    /// Connects.
    pub async fn connect(url: &str) -> Amqp {
        Amqp::try_connect(url).await.expect("no broker there")
    }

    /// Connects; an error while the broker is away.
    pub async fn try_connect(url: &str) -> lapin::Result<Amqp> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let table = FieldTable::default();
        let queue = channel.queue_declare("".into(), exclusive, table.clone());
        let reply_queue = queue.await?.name().to_string();
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let replies = channel.basic_consume(reply_queue.as_str().into(), "".into(), no_ack, table);
        Ok(Amqp {
            replies: replies.await?,
            channel,
            reply_queue,
            _connection: connection,
        })
    }

    /// Publishes; properties as given.
    pub async fn publish(&self, exchange: &str, key: &str, body: &[u8], with: BasicProperties) {
        let sent = self.try_publish(exchange, key, body, with);
        sent.await.unwrap();
    }

    /// Publishes; an error if the broker is away.
    pub async fn try_publish(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        with: BasicProperties,
    ) -> lapin::Result<()> {
        let options = BasicPublishOptions::default();
        let sent = self
            .channel
            .basic_publish(exchange.into(), key.into(), options, body, with);
        sent.await.map(drop)
    }

    /// Calls a method through a queue of calls: names it in the header `method`, awaits the reply.
    pub async fn call(&mut self, queue: &str, method: &str, token: &str, body: &[u8]) -> AmqpReply {
        let id = uuid::Uuid::new_v4().to_string();
        let headers = headers(&[("method", method), ("token", token)]);
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_content_type("application/json".into())
            .with_reply_to(self.reply_queue.as_str().into())
            .with_correlation_id(id.as_str().into());
        self.publish("", queue, body, properties).await;
        loop {
            let reply = self.reply().await;
            if reply.correlation.as_deref() == Some(&id) {
                return reply;
            }
        }
    }

    /// The next reply; fails the test if none comes.
    pub async fn reply(&mut self) -> AmqpReply {
        let next = tokio::time::timeout(PATIENCE, self.replies.next()).await;
        let delivery = next.expect("no reply came").expect("channel closed");
        let delivery = delivery.unwrap();
        let correlation = delivery.properties.correlation_id().as_ref();
        AmqpReply {
            status: header(&delivery.properties, "status"),
            correlation: correlation.map(ShortString::to_string),
            body: delivery.data,
        }
    }
}

/// A header table of texts.
pub fn headers(pairs: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    table
}

/// A header's text.
pub fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    let table = properties.headers().as_ref()?;
    match table.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

//! Messages in plain words, so that nothing outside this room needs to know the AMQP library.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::call::Payload;

/// RabbitMQ's pseudo-queue that brings replies to the channel that sent the request.
pub(super) const REPLIES: &str = "amq.rabbitmq.reply-to";

/// A message that arrived.
#[derive(Debug)]
pub struct Message {
    /// The exchange it came through; empty for the default exchange.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The body.
    pub body: Bytes,
    properties: BasicProperties,
}

/// The value of a header field, as far as callway's headers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number that is not negative.
    Number(u64),
    /// A type or a value that none of callway's headers has.
    Other,
}

impl Message {
    pub(super) fn new(delivery: lapin::message::Delivery) -> Message {
        Message {
            exchange: delivery.exchange.into(),
            routing_key: delivery.routing_key.into(),
            body: delivery.data.into(),
            properties: delivery.properties,
        }
    }

    /// The property `content_type`.
    pub fn content_type(&self) -> Option<&str> {
        text(self.properties.content_type())
    }

    /// The property `content_encoding`.
    pub fn content_encoding(&self) -> Option<&str> {
        text(self.properties.content_encoding())
    }

    /// The property `correlation_id`.
    pub fn correlation_id(&self) -> Option<&str> {
        text(self.properties.correlation_id())
    }

    /// The property `reply_to`.
    pub fn reply_to(&self) -> Option<&str> {
        text(self.properties.reply_to())
    }

    /// The property `expiration`: milliseconds in decimal digits.
    pub fn expiration(&self) -> Option<&str> {
        text(self.properties.expiration())
    }

    /// The property `type`.
    pub fn kind(&self) -> Option<&str> {
        text(self.properties.kind())
    }

    /// The property `user_id`; the broker lets nobody but this user set it.
    pub fn user_id(&self) -> Option<&str> {
        text(self.properties.user_id())
    }

    /// A header field.
    pub fn header(&self, name: &str) -> Option<Header<'_>> {
        let table = self.properties.headers().as_ref()?;
        table.inner().get(name).map(header)
    }

    /// All header fields.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Header<'_>)> {
        let tables = self.properties.headers().iter();
        let fields = tables.flat_map(|table| table.inner());
        fields.map(|(name, value)| (name.as_str(), header(value)))
    }

    /// The same message as it may be kept: persistent, without the header fields named here.
    pub fn to_keep(&self, body: Bytes, without: &[&str]) -> Outgoing {
        let mut headers = FieldTable::default();
        if let Some(table) = self.properties.headers() {
            for (name, value) in table.inner() {
                if !without.contains(&name.as_str()) {
                    headers.insert(name.clone(), value.clone());
                }
            }
        }
        // A verified user and an expiration belong to the first delivery: the broker would refuse
        // the one from somebody else, and throw the message away for the other.
        let mut properties = BasicProperties::default();
        for (value, set) in [
            (
                self.properties.content_type(),
                BasicProperties::with_content_type as fn(_, ShortString) -> _,
            ),
            (
                self.properties.content_encoding(),
                BasicProperties::with_content_encoding,
            ),
            (
                self.properties.correlation_id(),
                BasicProperties::with_correlation_id,
            ),
            (
                self.properties.message_id(),
                BasicProperties::with_message_id,
            ),
            (self.properties.reply_to(), BasicProperties::with_reply_to),
            (self.properties.kind(), BasicProperties::with_type),
        ] {
            if let Some(value) = value {
                properties = set(properties, value.clone());
            }
        }
        Outgoing {
            exchange: ShortString::default(),
            routing_key: short(&self.routing_key).unwrap_or_default(),
            body,
            properties: properties.with_delivery_mode(2),
            headers,
        }
    }
}

fn text(value: &Option<ShortString>) -> Option<&str> {
    value.as_ref().map(ShortString::as_str)
}

fn header(value: &AMQPValue) -> Header<'_> {
    let number = match value {
        AMQPValue::LongString(text) => {
            return std::str::from_utf8(text.as_bytes()).map_or(Header::Other, Header::Text);
        }
        AMQPValue::ShortString(text) => return Header::Text(text.as_str()),
        AMQPValue::ShortShortInt(n) => i64::from(*n),
        AMQPValue::ShortShortUInt(n) => i64::from(*n),
        AMQPValue::ShortInt(n) => i64::from(*n),
        AMQPValue::ShortUInt(n) => i64::from(*n),
        AMQPValue::LongInt(n) => i64::from(*n),
        AMQPValue::LongUInt(n) => i64::from(*n),
        AMQPValue::LongLongInt(n) => *n,
        _ => return Header::Other,
    };
    u64::try_from(number).map_or(Header::Other, Header::Number)
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) body: Bytes,
    pub(super) properties: BasicProperties,
    pub(super) headers: FieldTable,
}

impl Outgoing {
    /// A message for an exchange (empty: the default exchange, whose routing keys are queues).
    /// `None` if a name is longer than the 255 bytes that AMQP has room for.
    pub fn new(exchange: &str, routing_key: &str, payload: &Payload) -> Option<Outgoing> {
        let properties =
            BasicProperties::default().with_content_type(payload.content_type().into());
        Some(Outgoing {
            exchange: short(exchange)?,
            routing_key: short(routing_key)?,
            body: payload.bytes().clone(),
            properties,
            headers: FieldTable::default(),
        })
    }

    /// Kept by the broker over its restart, in queues that are kept.
    #[must_use]
    pub fn persistent(mut self) -> Outgoing {
        self.properties = self.properties.with_delivery_mode(2);
        self
    }

    /// Asks for the reply on the connection that sends this (RabbitMQ's direct reply-to).
    #[must_use]
    pub fn reply_here(mut self) -> Outgoing {
        self.properties = self.properties.with_reply_to(REPLIES.into());
        self
    }

    /// Sends it through another exchange.
    #[must_use]
    pub fn through(mut self, exchange: &'static str) -> Outgoing {
        self.exchange = exchange.into();
        self
    }

    /// Sets the property `correlation_id`, unless it is too long to have been one.
    #[must_use]
    pub fn correlation_id(mut self, id: &str) -> Outgoing {
        if let Some(id) = short(id) {
            self.properties = self.properties.with_correlation_id(id);
        }
        self
    }

    /// Names the method: in the property `type`, or in the header `method` where it is too long.
    #[must_use]
    pub fn method(mut self, method: &str) -> Outgoing {
        match short(method) {
            Some(kind) => self.properties = self.properties.with_type(kind),
            None => return self.text("method", method),
        }
        self
    }

    /// Sets the property `expiration`: the broker drops what waited longer in a queue.
    #[must_use]
    pub fn expires_after_ms(mut self, ms: u64) -> Outgoing {
        self.properties = self.properties.with_expiration(ms.to_string().into());
        self
    }

    /// Adds a header field with a text.
    #[must_use]
    pub fn text(mut self, name: &'static str, value: &str) -> Outgoing {
        let value = AMQPValue::LongString(value.into());
        self.headers.insert(name.into(), value);
        self
    }

    /// Adds a header field with a number.
    #[must_use]
    pub fn number(mut self, name: &'static str, value: u64) -> Outgoing {
        // AMQP's signed 64 bits: what every client library reads.
        let value = AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX));
        self.headers.insert(name.into(), value);
        self
    }
}

pub(super) fn short(text: &str) -> Option<ShortString> {
    ShortString::try_new(text).ok()
}

//! Channels: named streams of events, and where each of them goes.

use std::sync::Arc;
use std::time::Duration;

use crate::router::{Pattern, Template};

/// A `[[channel]]` row.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The channels it is about.
    pub pattern: Pattern,
    /// The MQTT topic that carries the same events.
    pub mqtt: Option<ChannelMqtt>,
    /// The AMQP exchange that carries the same events.
    pub amqp: Option<ChannelAmqp>,
    /// How much of the past is kept; nothing without.
    pub history: Option<History>,
    /// The method that is called with each event, as the token row `as_`.
    pub call: Option<ChannelCall>,
    /// Said by `callway routes`.
    pub description: Option<String>,
}

/// `mqtt` of a channel.
#[derive(Clone, Debug)]
pub struct ChannelMqtt {
    /// The bus.
    pub bus: Arc<str>,
    /// The topic, with the captures of the pattern.
    pub topic: Template,
    /// 0, 1 or 2; of what is published and of the subscription.
    pub qos: u8,
    /// Which way events go.
    pub direction: Direction,
}

/// `amqp` of a channel.
#[derive(Clone, Debug)]
pub struct ChannelAmqp {
    /// The bus.
    pub bus: Arc<str>,
    /// The exchange; never the default exchange, which only queues are behind.
    pub exchange: String,
    /// The routing key, with the captures of the pattern.
    pub routing_key: Template,
    /// Declare the exchange with this type (durable) instead of checking that it is there.
    pub declare: Option<&'static str>,
    /// Which way events go.
    pub direction: Direction,
}

/// Which way events go between a channel and a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What comes on the bus is an event of the channel.
    In,
    /// Events of the channel go to the bus.
    Out,
    /// Both; nothing that came from the bus goes back to it.
    Both,
}

impl Direction {
    /// Whether what comes on the bus is an event of the channel.
    pub fn takes_in(self) -> bool {
        self != Direction::Out
    }

    /// Whether events of the channel go to the bus.
    pub fn sends_out(self) -> bool {
        self != Direction::In
    }
}

/// `history` of a channel: the first bound that is reached counts, for each channel by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Events.
    pub count: u32,
    /// How old they may get.
    pub age: Duration,
    /// The size of their payloads together, in bytes.
    pub bytes: u64,
}

/// `call` and `call_as` of a channel.
#[derive(Clone, Debug)]
pub struct ChannelCall {
    /// The method, with the captures of the pattern.
    pub method: Template,
    /// The token row that calls it.
    pub caller: Arc<str>,
}

//! What goes through callway in these tests: messages whose payload says which one it is.

use std::fmt;

/// A pair of transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flow {
    MqttToAmqp,
    AmqpToMqtt,
    WsToMqtt,
    WsToAmqp,
    HttpToMqtt,
}

/// All of them.
pub const FLOWS: [Flow; 5] = [
    Flow::MqttToAmqp,
    Flow::AmqpToMqtt,
    Flow::WsToMqtt,
    Flow::WsToAmqp,
    Flow::HttpToMqtt,
];

impl Flow {
    /// The first segment of its channels, topics and keys.
    pub fn letter(self) -> char {
        match self {
            Flow::MqttToAmqp => 'a',
            Flow::AmqpToMqtt => 'b',
            Flow::WsToMqtt => 'c',
            Flow::WsToAmqp => 'd',
            Flow::HttpToMqtt => 'e',
        }
    }

    /// Messages that one fault may bring twice: those that were handed over and not acknowledged.
    pub fn window(self) -> usize {
        match self {
            // mosquitto's max_inflight_messages.
            Flow::MqttToAmqp => 1000,
            // callway's own, to a bus and from RabbitMQ.
            _ => 256,
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Flow::MqttToAmqp => "MQTT→AMQP",
            Flow::AmqpToMqtt => "AMQP→MQTT",
            Flow::WsToMqtt => "ws→MQTT",
            Flow::WsToAmqp => "ws→AMQP",
            Flow::HttpToMqtt => "HTTP→MQTT",
        })
    }
}

/// One message: `a3:17` is the seventeenth of the key 3 of the first flow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub flow: Flow,
    pub key: u16,
    pub number: u32,
}

impl Id {
    /// The channel of its key; topics are made likewise.
    pub fn channel(self) -> String {
        format!("{}/{}", self.flow.letter(), self.key)
    }

    /// The routing key of its key.
    pub fn routing_key(self) -> String {
        format!("{}.{}", self.flow.letter(), self.key)
    }

    /// JSON that tells it, of a length that varies.
    pub fn payload(self) -> String {
        let fill = "~".repeat((self.number as usize * 37) % 300);
        format!(r#"{{"id":"{self}","fill":"{fill}"}}"#)
    }

    /// The message that has this payload, to the last byte.
    pub fn of(payload: &[u8]) -> Option<Id> {
        let text = std::str::from_utf8(payload).ok()?;
        let (id, _) = text.strip_prefix(r#"{"id":""#)?.split_once('"')?;
        let (key, number) = id.get(1..)?.split_once(':')?;
        let id = Id {
            flow: FLOWS
                .into_iter()
                .find(|flow| id.starts_with(flow.letter()))?,
            key: key.parse().ok()?,
            number: number.parse().ok()?,
        };
        (id.payload() == text).then_some(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", self.flow.letter(), self.key, self.number)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

//! The brokers.

use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

use super::Account;
use crate::auth::Secret;

/// A `[bus.NAME]` table.
#[derive(Clone, Debug)]
pub enum Bus {
    /// `mqtt://` or `mqtts://`.
    Mqtt(Arc<MqttBus>),
    /// `amqp://` or `amqps://`.
    Amqp(Arc<AmqpBus>),
}

impl Bus {
    /// What routes call it.
    pub fn name(&self) -> &str {
        &self.common().name
    }

    /// What both kinds of bus have.
    pub fn common(&self) -> &BusCommon {
        match self {
            Bus::Mqtt(bus) => &bus.common,
            Bus::Amqp(bus) => &bus.common,
        }
    }
}

/// What both kinds of bus have.
#[derive(Clone, Debug)]
pub struct BusCommon {
    /// The NAME of `[bus.NAME]`.
    pub name: Arc<str>,
    /// The token row that calls without a credential act as.
    pub caller: Option<Arc<str>>,
    /// Which credentials of a message count.
    pub identity: Identity,
    /// scriptr's addresses are served below this name.
    pub scriptr: Option<Account>,
}

/// `bus.identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The message carries a token.
    Token,
    /// AMQP: the `user_id` property, which the broker verified, names the token row.
    UserId,
    /// Credentials in messages are ignored: everyone is `caller`.
    None,
}

/// An MQTT broker.
#[derive(Clone, Debug)]
pub struct MqttBus {
    /// What both kinds of bus have.
    pub common: BusCommon,
    /// Host name or address.
    pub host: String,
    /// 1883, or 8883 with TLS, unless the URL says otherwise.
    pub port: u16,
    /// `mqtts://`.
    pub tls: bool,
    /// PEM file with the authorities of the broker's certificate; the system's otherwise.
    pub ca: Option<PathBuf>,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// The protocol version spoken.
    pub protocol: MqttProtocol,
    /// The topic prefix on which calls arrive.
    pub calls: Option<String>,
    /// Topic filters; replies go nowhere else.
    pub reply_topics: Vec<String>,
}

/// The MQTT version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttProtocol {
    /// MQTT 5.0.
    V5,
    /// MQTT 3.1.1, whose protocol level is 4.
    V4,
}

/// An AMQP 0.9.1 broker.
#[derive(Clone, Debug)]
pub struct AmqpBus {
    /// What both kinds of bus have.
    pub common: BusCommon,
    /// The URL without its password.
    pub url: Url,
    /// PEM file with the authorities of the broker's certificate; the system's otherwise.
    pub ca: Option<PathBuf>,
    /// User name and password.
    pub login: (String, Secret),
    /// The queue on which calls arrive.
    pub calls: Option<String>,
    /// Queue names, `*` at the end as a wildcard; replies go nowhere else.
    pub reply_queues: Vec<String>,
    /// MQTT topic filters; replies to what came through RabbitMQ's MQTT (`x-reply-to-topic`) go
    /// nowhere else. Empty unless set: such calls are then refused.
    pub reply_topics: Vec<String>,
    /// How many deliveries may be unacknowledged at once.
    pub prefetch: u16,
}

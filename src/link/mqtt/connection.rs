//! One connection to a broker, whichever MQTT it speaks. A lost one is never revived: the next
//! connection is a new one, so that nothing of the old session is replayed.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::message::{Delivery, Message};
use super::receipt::Tag;
use super::subscription::Subscription;
use super::{v4, v5};
use crate::config::{MqttBus, MqttProtocol};

/// What a connection is made from.
pub(super) struct Settings {
    pub(super) bus: Arc<MqttBus>,
    pub(super) client_id: String,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// Of a packet from the broker, in bytes.
    pub(super) max_packet: u32,
    /// Messages that may wait to be sent.
    pub(super) queue: usize,
    /// Messages of QoS 1 and 2 that may wait for their acknowledgement.
    pub(super) inflight: u16,
    /// Messages that are sent with one write when many wait, and taken up with one read.
    pub(super) batch: usize,
    pub(super) keep_alive: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) mode: Mode,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Sends, and takes replies, which are acknowledged on arrival; the broker keeps nothing.
    Sends,
    /// Receives, and acknowledges by hand. The broker keeps the session for so long after the
    /// connection was lost; not at all without.
    Receives { kept: Option<Duration> },
    /// Is a client of callway's own, and asks it to show itself; the server keeps nothing.
    Visits,
}

impl Mode {
    /// In seconds, as MQTT 5 counts it.
    pub(super) fn kept_secs(self) -> Option<u32> {
        match self {
            Mode::Receives { kept: Some(kept) } => {
                Some(u32::try_from(kept.as_secs()).unwrap_or(u32::MAX))
            }
            _ => None,
        }
    }
}

/// The sending half; cheap to clone.
pub(super) enum Client {
    V5(rumqttc_v5::AsyncClient),
    V4(rumqttc_v4::AsyncClient),
}

/// The half that must be polled.
pub(super) enum Connection {
    V5(Box<rumqttc_v5::EventLoop>),
    V4(Box<rumqttc_v4::EventLoop>),
}

/// What happened on a connection.
pub(super) enum Event {
    /// The broker accepted the connection, takes packets up to this size, and may go on with the
    /// session that it kept.
    Connected { max_packet: usize, resumed: bool },
    /// A message came in.
    Delivery(Delivery),
    /// The broker is done with a message of QoS 1 or 2.
    Acknowledged,
    /// The broker said something else.
    Heard,
    /// Something was sent.
    Sent,
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublishError {
    /// The connection is gone.
    Closed,
    /// Too much waits to be sent.
    Full,
    /// Nothing can be published to such a topic.
    Topic,
}

/// Why a message of QoS 1 or 2 was not acknowledged with success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AckError {
    /// MQTT 5 reason 0x10: nobody has subscribed the topic.
    NoSubscriber,
    /// The broker refused it, with its reason.
    Refused(String),
    /// The connection was lost first.
    Lost,
}

/// A promise of the broker's acknowledgement.
pub(super) enum Ack {
    V5(rumqttc_v5::PublishNotice),
    V4(rumqttc_v4::PublishNotice),
}

/// A promise of the broker's answer to a SUBSCRIBE.
pub(super) enum SubAck {
    V5(rumqttc_v5::SubscribeNotice),
    V4(rumqttc_v4::SubscribeNotice),
}

/// A promise of the broker's answer to an UNSUBSCRIBE.
pub(super) enum UnsubAck {
    V5(rumqttc_v5::UnsubscribeNotice),
    V4(rumqttc_v4::UnsubscribeNotice),
}

/// Prepares a connection; it is made when it is polled.
pub(super) fn open(settings: &Settings) -> Result<(Client, Connection), String> {
    Ok(match settings.bus.protocol {
        MqttProtocol::V5 => {
            let (client, events) = v5::open(settings)?;
            (Client::V5(client), Connection::V5(Box::new(events)))
        }
        MqttProtocol::V4 => {
            let (client, events) = v4::open(settings)?;
            (Client::V4(client), Connection::V4(Box::new(events)))
        }
    })
}

impl Connection {
    /// The next event; an error ends the connection.
    pub(super) async fn next(&mut self) -> Result<Event, String> {
        match self {
            Connection::V5(events) => match events.poll().await {
                Ok(raw) => Ok(v5::event(raw, events)),
                Err(error) => Err(error.to_string()),
            },
            Connection::V4(events) => match events.poll().await {
                Ok(raw) => Ok(v4::event(raw)),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

impl Client {
    /// Queues a message. QoS 0 has no acknowledgement.
    pub(super) fn publish(&self, message: Message) -> Result<Option<Ack>, PublishError> {
        match self {
            Client::V5(client) => Ok(v5::publish(client, message)?.map(Ack::V5)),
            Client::V4(client) => Ok(v4::publish(client, message)?.map(Ack::V4)),
        }
    }

    /// Asks for subscriptions.
    pub(super) fn subscribe(&self, wanted: &[Subscription]) -> Result<SubAck, PublishError> {
        match self {
            Client::V5(client) => v5::subscribe(client, wanted).map(SubAck::V5),
            Client::V4(client) => v4::subscribe(client, wanted).map(SubAck::V4),
        }
    }

    /// Gives subscriptions up, also such that are not there.
    pub(super) fn unsubscribe(&self, filters: &[String]) -> Result<UnsubAck, PublishError> {
        match self {
            Client::V5(client) => v5::unsubscribe(client, filters).map(UnsubAck::V5),
            Client::V4(client) => v4::unsubscribe(client, filters).map(UnsubAck::V4),
        }
    }

    /// Queues the acknowledgement of a message: PUBACK, or PUBREC at QoS 2, after which the
    /// library does the rest. The queue has room for as many as a broker can wait for.
    pub(super) fn acknowledge(&self, tag: Tag) -> Result<(), PublishError> {
        match self {
            Client::V5(client) => v5::acknowledge(client, tag),
            Client::V4(client) => v4::acknowledge(client, tag),
        }
    }

    /// Ends the connection once what is queued has been sent.
    pub(super) fn disconnect(&self, patience: Duration) {
        match self {
            Client::V5(client) => v5::disconnect(client, patience),
            Client::V4(client) => v4::disconnect(client, patience),
        }
    }
}

impl Ack {
    pub(super) async fn wait(self) -> Result<(), AckError> {
        match self {
            Ack::V5(notice) => v5::acknowledged(notice).await,
            Ack::V4(notice) => v4::acknowledged(notice).await,
        }
    }
}

impl SubAck {
    /// One entry per filter: why the broker refused it, or `None`. `None` altogether if the
    /// connection was lost.
    pub(super) async fn wait(self) -> Option<Vec<Option<String>>> {
        match self {
            SubAck::V5(notice) => v5::subscribed(notice).await,
            SubAck::V4(notice) => v4::subscribed(notice).await,
        }
    }
}

impl UnsubAck {
    /// Whether the broker answered before the connection was lost.
    pub(super) async fn wait(self) -> bool {
        match self {
            UnsubAck::V5(notice) => notice.wait_async().await.is_ok(),
            UnsubAck::V4(notice) => notice.wait_async().await.is_ok(),
        }
    }
}

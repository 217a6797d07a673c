//! One connection to an MQTT endpoint of a callway, as its clients have it: channels go by their
//! own names there. MQTT 5 alone, whose acknowledgements say what became of a message.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Fuse, FusedFuture as _};
use rumqttc_v5::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason, SubscribeReasonCode};
use rumqttc_v5::{AsyncClient, ConnectionError, Event as RawEvent, EventLoop, PublishResult};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::{Event, Mode, Settings};
use super::message::{Delivery, Message};
use super::sending::FAREWELL;
use super::subscription::Subscription;
use super::{HEADROOM, topic, v5};
use crate::call::{Fault, Kind};
use crate::config::MqttBus;
use crate::dialect::mqtt::topic::REPLIES;

/// Messages that came and are not taken yet; then the server waits.
const WAITING: usize = 256;
/// The largest message that is read, in bytes.
const LARGEST: u32 = 64 * 1024 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// An open connection.
pub struct Endpoint {
    client: AsyncClient,
    /// Moves everything, for as long as it is polled; ends with the connection, and says why. Never
    /// cut off half-way.
    pump: Fuse<BoxFuture<'static, Fault>>,
    incoming: mpsc::Receiver<Delivery>,
    largest: usize,
}

impl Endpoint {
    /// Connects, within this time. The login of the bus is the token, with any user name.
    ///
    /// Returns `invalid_request` if that is no endpoint of a callway.
    pub async fn connect(
        bus: Arc<MqttBus>,
        tls: Option<Arc<ClientConfig>>,
        within: Duration,
    ) -> Result<Endpoint, Fault> {
        let settings = Settings {
            client_id: format!("callway-{}", uuid::Uuid::new_v4().simple()),
            tls: tls.filter(|_| bus.tls),
            max_packet: LARGEST + HEADROOM as u32,
            queue: WAITING,
            inflight: 100,
            batch: 16,
            keep_alive: KEEP_ALIVE,
            connect_timeout: within,
            mode: Mode::Visits,
            bus,
        };
        let invalid = |why: String| Fault::new(Kind::InvalidRequest, why);
        let (client, mut events) = v5::open(&settings).map_err(invalid)?;
        let (tell, incoming) = mpsc::channel(WAITING);
        let hello = loop {
            let happened = events.poll().await.map_err(|error| lost(&error))?;
            if let RawEvent::Incoming(Packet::ConnAck(ack)) = happened {
                break ack.properties;
            }
        };
        let replies = hello
            .as_ref()
            .and_then(|said| said.response_information.as_deref());
        if replies.is_none_or(|replies| topic::below(REPLIES, replies).is_none()) {
            return Err(foreign());
        }
        let largest = hello.and_then(|said| said.max_packet_size);
        let largest = largest.map_or(usize::MAX, |size| size as usize);
        Ok(Endpoint {
            client,
            pump: pump(events, tell).boxed().fuse(),
            incoming,
            largest,
        })
    }

    /// Publishes at QoS 1, and waits for what becomes of it.
    ///
    /// Returns `forbidden` without a grant, `method_not_found` if no row takes the channel.
    pub async fn publish(&mut self, message: Message) -> Result<(), Fault> {
        if message.size() > self.largest {
            let why = format!("the server takes packets of at most {} bytes", self.largest);
            return Err(Fault::new(Kind::TooLarge, why));
        }
        let queued = v5::publish(&self.client, message);
        let Some(notice) = queued.map_err(|_| not_sent())? else {
            return Ok(());
        };
        let reason = tokio::select! {
            biased;
            said = notice.wait_async() => match said {
                Ok(PublishResult::Qos1(ack)) => ack.reason,
                Ok(_) => PubAckReason::Success,
                Err(_) => return Err(not_sent()),
            },
            fault = &mut self.pump => return Err(fault),
        };
        let (kind, why) = match reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => return Ok(()),
            PubAckReason::NotAuthorized => (Kind::Forbidden, "no grant names the channel"),
            PubAckReason::TopicNameInvalid => {
                (Kind::MethodNotFound, "no [[channel]] row takes the name")
            }
            PubAckReason::QuotaExceeded => (Kind::Overloaded, "a limit of the server is reached"),
            _ => (Kind::Unavailable, "the server cannot take the event now"),
        };
        Err(Fault::new(kind, why))
    }

    /// Queues a message of QoS 0.
    pub fn send(&self, message: Message) -> Result<(), Fault> {
        if message.size() > self.largest {
            let why = format!("the server takes packets of at most {} bytes", self.largest);
            return Err(Fault::new(Kind::TooLarge, why));
        }
        v5::publish(&self.client, message)
            .map(drop)
            .map_err(|_| not_sent())
    }

    /// Subscribes, and waits until that is in place.
    ///
    /// Returns `forbidden` if no grant touches the filter.
    pub async fn subscribe(&mut self, wanted: Subscription) -> Result<(), Fault> {
        let notice = v5::subscribe(&self.client, &[wanted]).map_err(|_| not_sent())?;
        let ack = tokio::select! {
            biased;
            ack = notice.wait_async() => ack.map_err(|_| not_sent())?,
            fault = &mut self.pump => return Err(fault),
        };
        let (kind, why) = match ack.return_codes.first() {
            Some(SubscribeReasonCode::Success(_)) => return Ok(()),
            Some(SubscribeReasonCode::NotAuthorized) => (Kind::Forbidden, "no grant names it"),
            Some(SubscribeReasonCode::TopicFilterInvalid) => {
                (Kind::InvalidRequest, "this is no name")
            }
            Some(SubscribeReasonCode::QuotaExceeded) => {
                (Kind::Overloaded, "too many subscriptions")
            }
            _ => (
                Kind::Unavailable,
                "the server does not take the subscription",
            ),
        };
        Err(Fault::new(kind, why))
    }

    /// The next message, acknowledged already. Safe to drop and ask again.
    pub async fn next(&mut self) -> Result<Delivery, Fault> {
        tokio::select! {
            biased;
            Some(delivery) = self.incoming.recv() => Ok(delivery),
            fault = &mut self.pump, if !self.pump.is_terminated() => Err(fault),
            else => Err(not_sent()),
        }
    }

    /// Says goodbye once what is queued was sent.
    pub async fn close(self) {
        if !self.pump.is_terminated() {
            v5::disconnect(&self.client, FAREWELL);
            timeout(FAREWELL * 2, self.pump).await.ok();
        }
    }
}

async fn pump(mut events: EventLoop, tell: mpsc::Sender<Delivery>) -> Fault {
    loop {
        match events.poll().await {
            Ok(raw) => {
                if let Event::Delivery(delivery) = v5::event(raw, &mut events)
                    && tell.send(delivery).await.is_err()
                {
                    return not_sent();
                }
            }
            Err(error) => return lost(&error),
        }
    }
}

fn lost(error: &ConnectionError) -> Fault {
    use ConnectReturnCode::{
        BadUserNamePassword, ConnectionRateExceeded, NotAuthorized, QuotaExceeded, ServerBusy,
    };
    let (kind, why) = match error {
        ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized) => (
            Kind::Unauthenticated,
            "the server does not know the token".to_owned(),
        ),
        ConnectionError::ConnectionRefused(ServerBusy | QuotaExceeded | ConnectionRateExceeded) => {
            (
                Kind::Overloaded,
                "the server takes no more connections".to_owned(),
            )
        }
        error => (Kind::Unavailable, format!("the connection: {error}")),
    };
    Fault::new(kind, why)
}

fn not_sent() -> Fault {
    Fault::new(Kind::Unavailable, "the connection was lost")
}

fn foreign() -> Fault {
    Fault::new(
        Kind::InvalidRequest,
        "that is a broker and no MQTT endpoint of a callway. Over a broker a channel has no name \
         of its own: use the topic of its row (mosquitto_pub, mosquitto_sub), which `callway \
         routes CHANNEL` shows; or --via ws:// or http://",
    )
}

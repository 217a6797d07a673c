//! The link to an MQTT broker, 5 or 3.1.1: a handle to publish and to ask with, a bounded queue,
//! and two connections, each owned by one task that restores it and tells its state.
//!
//! One sends and takes replies; the broker forgets it with its end. The other takes calls and
//! events; its session stays at the broker, so that nothing is missed while callway is away, and
//! what comes is acknowledged by whoever took it.

mod connection;
mod cork;
mod dial;
mod endpoint;
mod inbox;
mod message;
mod outside;
mod receipt;
mod receiving;
mod resume;
mod sending;
mod setup;
mod subscription;
mod topic;
mod tries;
mod v4;
mod v5;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use self::connection::{Ack, AckError, Client, PublishError};
pub use self::endpoint::Endpoint;
use self::inbox::Inbox;
pub use self::message::{Delivery, Message, Properties};
pub use self::outside::{ask, probe};
pub use self::receipt::Receipt;
pub use self::setup::{Inward, Setup, Start};
pub use self::subscription::{Deliveries, Inlet, Retain, Subscription};
pub use self::topic::{below, is_publishable, matches};
use super::board::{Board, Role};
use crate::call::{Fault, Kind};
use crate::config::{MqttBus, MqttProtocol};
use crate::observe::{LinkState, Metrics};

/// Room for topic and properties beside the largest body.
const HEADROOM: usize = 64 * 1024;

/// The handle to a link; cheap to clone.
#[derive(Clone)]
pub struct MqttLink {
    shared: Arc<Shared>,
}

/// What the handles and the owning tasks share.
struct Shared {
    bus: Arc<MqttBus>,
    /// There while messages can be sent and replies come back.
    open: ArcSwapOption<Open>,
    inbox: Inbox,
    board: Board,
    metrics: Arc<Metrics>,
}

/// A connection that was accepted.
struct Open {
    client: Client,
    /// Of one packet, in bytes, as the broker said.
    max_packet: usize,
    /// Messages of QoS 1 and 2 that were queued.
    tracked: AtomicU64,
}

/// Where the reply to a request must go.
pub struct ReplyTo<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The correlation, 32 hexadecimal digits.
    pub correlation: String,
}

impl MqttLink {
    /// A link that does nothing yet, and what starts it.
    pub fn prepare(setup: Setup) -> (MqttLink, Start) {
        let link = MqttLink {
            shared: Arc::new(Shared {
                bus: setup.bus.clone(),
                open: ArcSwapOption::empty(),
                inbox: Inbox::new(setup.inbox.clone(), setup.limits.in_flight),
                board: Board::new(setup.bus.common.name.clone(), setup.links.clone()),
                metrics: setup.metrics.clone(),
            }),
        };
        if !setup.inward.inlets.is_empty() {
            let board = &link.shared.board;
            board.set(Role::Receive, LinkState::Connecting, "");
        }
        (link.clone(), Start { link, setup })
    }

    /// The broker.
    pub fn bus(&self) -> &MqttBus {
        &self.shared.bus
    }

    /// Whether messages have properties.
    pub fn is_v5(&self) -> bool {
        self.shared.bus.protocol == MqttProtocol::V5
    }

    /// Waits until both connections are up; says why not if one failed or that takes too long.
    pub async fn up(&self, patience: Duration) -> Result<(), String> {
        let settled = tokio::time::timeout(patience, self.shared.board.settled());
        settled
            .await
            .unwrap_or_else(|_| Err(format!("the broker does not answer within {patience:?}")))
    }

    /// Waits until messages can be sent, for as long as that takes.
    pub async fn sendable(&self) {
        self.shared.board.sending().await;
    }

    /// Queues a message for the broker at once, so in the order of the calls; the future waits, at
    /// QoS 1 and 2, for its acknowledgement. A link on which none comes is given up.
    ///
    /// Returns `unavailable` while the link is down, `overloaded` if too much waits to be sent,
    /// `no_responder` if the broker says that nobody has subscribed the topic: to an event that is
    /// as good as taken.
    pub fn publish(
        &self,
        message: Message,
    ) -> impl Future<Output = Result<(), Fault>> + Send + use<> {
        let (link, queued) = (self.clone(), self.queue(message));
        async move {
            match queued? {
                None => Ok(()),
                Some(ack) => ack.wait().await.map_err(|error| link.not_taken(error)),
            }
        }
    }

    /// Queues a message for the broker and waits for nothing.
    pub fn send(&self, message: Message) -> Result<(), Fault> {
        self.queue(message).map(drop)
    }

    /// Publishes a request and waits for its reply. The deadline is the caller's: dropping the
    /// future forgets the request.
    ///
    /// Returns what [`MqttLink::publish`] returns, and `unavailable` if the link is lost while the
    /// reply is awaited.
    pub async fn request(&self, make: impl FnOnce(ReplyTo) -> Message) -> Result<Delivery, Fault> {
        // Before anything is built: while the link is down a call costs next to nothing.
        if self.shared.open.load().is_none() {
            return Err(self.down());
        }
        let inbox = &self.shared.inbox;
        let (correlation, mut awaited) = inbox.await_reply().ok_or_else(|| self.full())?;
        let ack = self.queue(make(ReplyTo {
            topic: inbox.address(),
            correlation: correlation.to_string(),
        }))?;
        if let Some(ack) = ack {
            tokio::select! {
                biased;
                reply = awaited.wait() => return reply.ok_or_else(|| self.lost()),
                acknowledged = ack.wait() => acknowledged.map_err(|error| self.not_taken(error))?,
            }
        }
        awaited.wait().await.ok_or_else(|| self.lost())
    }

    fn queue(&self, message: Message) -> Result<Option<Ack>, Fault> {
        let open = self.shared.open.load();
        let open = open.as_deref().ok_or_else(|| self.down())?;
        // A packet that the broker does not take would cost the connection.
        if message.size() > open.max_packet {
            return Err(Fault::new(
                Kind::TooLarge,
                format!(
                    "the broker takes packets of at most {} bytes",
                    open.max_packet
                ),
            ));
        }
        let ack = open.client.publish(message).map_err(|error| match error {
            PublishError::Closed => self.down(),
            PublishError::Full => self.full(),
            PublishError::Topic => Fault::new(Kind::InvalidRequest, "not a topic to publish to"),
        })?;
        if ack.is_some() {
            open.tracked.fetch_add(1, Ordering::Relaxed);
        }
        Ok(ack)
    }

    fn down(&self) -> Fault {
        Fault::unavailable("link_down", format!("the bus {} is away", self.name()))
    }

    fn lost(&self) -> Fault {
        let message = format!(
            "the link to the bus {} was lost before the reply",
            self.name()
        );
        Fault::unavailable("link_lost", message).handed_over()
    }

    fn full(&self) -> Fault {
        self.shared.metrics.limit_reached("mqtt_queue");
        let message = format!("too much waits for the bus {}", self.name());
        Fault::new(Kind::Overloaded, message).with_retry_after(Duration::from_secs(1))
    }

    fn not_taken(&self, error: AckError) -> Fault {
        match error {
            AckError::NoSubscriber => Fault::new(
                Kind::NoResponder,
                "the broker says that nobody has subscribed the topic",
            ),
            AckError::Refused(reason) => Fault::unavailable(
                "refused",
                format!("the broker refused the message: {reason}; see its access rules"),
            ),
            AckError::Lost => self.lost(),
        }
    }

    fn name(&self) -> &str {
        &self.shared.bus.common.name
    }
}

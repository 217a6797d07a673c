//! The link to an MQTT broker, 5 or 3.1.1: a handle to publish and to ask with, a bounded queue,
//! and one task that owns the connection, restores its subscriptions and tells its state.

mod connection;
mod inbox;
mod message;
mod outside;
mod supervise;
mod topic;
mod v4;
mod v5;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::{Ack, AckError, Client, PublishError};
use self::inbox::Inbox;
pub use self::message::{Delivery, Message, Properties};
pub use self::outside::{ask, probe};
pub use self::topic::{below, is_publishable, matches};
use crate::call::{Fault, Kind};
use crate::config::{Limits, MqttBus, MqttProtocol};
use crate::context::Context;
use crate::observe::{LinkState, LinkStates, Metrics};

/// Room for topic and properties beside the largest body.
const HEADROOM: usize = 64 * 1024;

/// Takes what comes in on the call topics. It runs in the task that owns the connection, so it
/// must not block and hands the work to another task.
pub trait Deliveries: Send + Sync + 'static {
    /// One message whose topic is the prefix or below it.
    fn deliver(&self, link: &MqttLink, delivery: Delivery);
}

/// What a link is made from.
pub struct Setup {
    /// The broker.
    pub bus: Arc<MqttBus>,
    /// Unique at the broker: a second connection with the same id ends the first.
    pub client_id: String,
    /// The topic prefix below which replies are awaited.
    pub inbox: String,
    /// Bounds of messages and queues.
    pub limits: Limits,
    /// Where the call topics of [`MqttBus::calls`] go; they are not subscribed without.
    pub calls: Option<Arc<dyn Deliveries>>,
    /// Where the owning task runs.
    pub tasks: TaskTracker,
    /// Ends the link, what is queued sent first.
    pub stop: CancellationToken,
    /// Where its state is shown.
    pub links: Arc<LinkStates>,
    /// Where strays are counted.
    pub metrics: Arc<Metrics>,
}

impl Setup {
    /// The link of the daemon to one of its buses.
    pub fn of(context: &Context, bus: &Arc<MqttBus>, calls: Option<Arc<dyn Deliveries>>) -> Setup {
        let instance = &context.config.cluster.instance;
        Setup {
            bus: bus.clone(),
            client_id: format!("callway-{instance}-{}", bus.common.name),
            inbox: format!("callway/inbox/{instance}"),
            limits: context.config.limits.clone(),
            calls,
            tasks: context.background.clone(),
            stop: context.stop.clone(),
            links: context.links.clone(),
            metrics: context.metrics.clone(),
        }
    }
}

/// The handle to a link; cheap to clone.
#[derive(Clone)]
pub struct MqttLink {
    shared: Arc<Shared>,
}

/// A link that waits to be started: once calls can be taken.
#[must_use = "the link does nothing before it is started"]
pub struct Start {
    link: MqttLink,
    setup: Setup,
}

impl Start {
    /// Lets the owning task run. Never waits for the broker.
    pub fn start(self) {
        let tasks = self.setup.tasks.clone();
        tasks.spawn(supervise::keep(self.link, self.setup));
    }
}

/// What the handles and the owning task share.
struct Shared {
    bus: Arc<MqttBus>,
    /// There while messages can be sent and replies come back.
    open: ArcSwapOption<Open>,
    inbox: Inbox,
    state: watch::Sender<(LinkState, String)>,
    links: Arc<LinkStates>,
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
                state: watch::Sender::new((LinkState::Connecting, String::new())),
                links: setup.links.clone(),
                metrics: setup.metrics.clone(),
            }),
        };
        link.shared.tell(LinkState::Connecting, "");
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

    /// Waits until the link is up; says why it is not if it failed or that takes too long.
    pub async fn up(&self, patience: Duration) -> Result<(), String> {
        let mut state = self.shared.state.subscribe();
        let settled = state.wait_for(|(state, _)| *state != LinkState::Connecting);
        match tokio::time::timeout(patience, settled).await {
            Ok(Ok(settled)) if settled.0 == LinkState::Up => Ok(()),
            Ok(Ok(settled)) => Err(settled.1.clone()),
            Ok(Err(_)) => Err("the link has ended".into()),
            Err(_) => Err(format!("the broker does not answer within {patience:?}")),
        }
    }

    /// Queues a message for the broker and, at QoS 1 and 2, waits for its acknowledgement; a link
    /// on which none comes is given up.
    ///
    /// Returns `unavailable` while the link is down, `overloaded` if too much waits to be sent,
    /// `no_responder` if the broker says that nobody has subscribed the topic.
    pub async fn publish(&self, message: Message) -> Result<(), Fault> {
        match self.queue(message)? {
            None => Ok(()),
            Some(ack) => ack.wait().await.map_err(|error| self.not_taken(error)),
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

impl Shared {
    fn tell(&self, state: LinkState, why: &str) {
        self.links.set(&self.bus.common.name, state, why);
        self.state.send_replace((state, why.to_owned()));
    }
}

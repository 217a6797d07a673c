//! Links to AMQP 0.9.1 brokers (written against RabbitMQ).
//!
//! Two connections per bus, each owned by one task that connects, restores everything and watches:
//! one sends (requests, with their replies on the same channel, and answers), the other receives
//! calls. A broker that blocks whoever publishes (a memory or disk alarm) so does not stop what is
//! received. The library's own recovery is off: it hangs silently when its tries are used up, and
//! cannot restore what the broker still holds for the lost connection.

mod board;
mod client;
mod connect;
mod consumer;
mod delivery;
mod exchanges;
mod ledger;
mod message;
mod probe;
mod publisher;
mod receiving;
mod sending;
mod topology;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use self::board::Board;
use self::exchanges::Exchanges;
use self::publisher::{Publish, Publisher, Purpose};
use super::Backoff;
use crate::call::{Deadline, Fault, Kind, Pending, random_bits};
use crate::config::AmqpBus;
use crate::context::Context;
use crate::observe::Metrics;

pub use self::client::ask;
pub use self::connect::Server;
pub use self::delivery::Delivery;
pub use self::message::{Header, Message, Outgoing};
pub use self::probe::{Finding, probe};
pub use self::topology::{CALLS, DEAD, MQTT};

/// Messages that wait for the task that sends. Beyond it, requests are refused.
const QUEUE: usize = 4096;

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
}

/// The link to one bus. Cheap to clone; requests and answers go through it from everywhere.
#[derive(Clone)]
pub struct AmqpLink {
    inner: Arc<Inner>,
}

/// A link that waits to be started: once calls can be taken.
#[must_use = "the link does nothing before it is started"]
pub struct Start(Publisher);

impl Start {
    /// Connects, and goes on trying for as long as the process runs. Never waits for the broker.
    pub fn start(self) {
        let tasks = self.0.tasks();
        tasks.spawn(self.0.run());
    }
}

struct Inner {
    bus: Arc<AmqpBus>,
    queue: mpsc::Sender<Publish>,
    shared: Arc<Shared>,
    context: Context,
}

/// What the handle and the tasks share.
struct Shared {
    bus: Arc<str>,
    pending: Pending<u128, Result<Message, Fault>>,
    standing: AtomicU8,
    exchanges: Exchanges,
    board: Board,
    metrics: Arc<Metrics>,
}

/// How the sending connection stands, as far as requests care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Standing {
    Down,
    Up,
    Blocked,
}

impl Shared {
    fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Release);
    }

    /// `unavailable` unless requests can be sent now.
    fn ready(&self) -> Result<(), Fault> {
        match self.standing.load(Ordering::Acquire) {
            s if s == Standing::Up as u8 => Ok(()),
            s if s == Standing::Blocked as u8 => Err(blocked()),
            _ => Err(down()),
        }
    }

    /// Ends the wait for a reply. Nobody there: the caller has gone away meanwhile.
    fn fail(&self, key: u128, fault: Fault) {
        self.pending.complete(&key, Err(fault)).unwrap_or_default();
    }
}

fn down() -> Fault {
    Fault::unavailable(
        "link_down",
        "the broker is away; callway keeps trying to reach it",
    )
}

fn blocked() -> Fault {
    Fault::unavailable(
        "blocked",
        "the broker takes no messages now: it is short of memory or disk space",
    )
}

impl AmqpLink {
    /// A link that is not connected yet, and what connects it.
    pub fn prepare(context: &Context, bus: &Arc<AmqpBus>) -> (AmqpLink, Start) {
        let (queue, messages) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            bus: bus.common.name.clone(),
            pending: Pending::new(context.config.limits.in_flight),
            standing: AtomicU8::new(Standing::Down as u8),
            exchanges: Exchanges::new(exchanges::of_bus(&context.config, bus)),
            board: Board::new(bus.common.name.clone(), context.links.clone()),
            metrics: context.metrics.clone(),
        });
        let publisher = Publisher::new(context.clone(), bus.clone(), messages, shared.clone());
        let link = AmqpLink {
            inner: Arc::new(Inner {
                bus: bus.clone(),
                queue,
                shared,
                context: context.clone(),
            }),
        };
        (link, Start(publisher))
    }

    /// Takes calls from the bus's queue: `on_message` is asked for each and must not wait.
    pub fn receive(
        &self,
        queue: &str,
        on_message: impl Fn(Message, Delivery) + Send + Sync + 'static,
    ) {
        let context = self.inner.context.clone();
        let shared = self.inner.shared.clone();
        let receiver =
            consumer::Receiver::new(context, self.inner.bus.clone(), queue, shared, on_message);
        self.inner.context.tasks.spawn(receiver.run());
    }

    /// Whether requests could be sent now; the same answer that [`AmqpLink::request`] would give.
    pub fn ready(&self, exchange: &str) -> Result<(), Fault> {
        self.inner.shared.ready()?;
        self.inner.shared.exchanges.usable(exchange)
    }

    /// Sends a request and waits for its reply. Dropping the future forgets the request.
    pub async fn request(
        &self,
        exchange: &str,
        message: Outgoing,
        deadline: Deadline,
    ) -> Result<Message, Fault> {
        self.ready(exchange)?;
        let shared = &self.inner.shared;
        let key = random_key()?;
        let mut reply = shared.pending.insert(key).ok_or_else(crowded)?;
        let publish = Publish {
            message: message.correlation_id(&format!("{key:032x}")),
            purpose: Purpose::Request(key),
            deadline,
        };
        self.inner.queue.try_send(publish).map_err(|_| crowded())?;
        reply.wait().await.unwrap_or_else(|| Err(lost()))
    }

    /// Sends the answer to a delivery, which is acknowledged once the broker confirmed the answer.
    /// An answer that cannot be sent by `deadline` is dropped: nobody waits for it any more.
    pub fn answer(&self, message: Outgoing, delivery: Delivery, deadline: Deadline) {
        let shared = &self.inner.shared;
        if shared.exchanges.usable(message.exchange.as_str()).is_err() {
            shared.metrics.dropped("amqp", "reply_not_taken");
            return delivery.ack();
        }
        self.settle_with(message, Purpose::Answer(delivery), deadline);
    }

    /// Keeps a copy of a message that is no call in the queue `callway.dead`; the delivery is
    /// acknowledged once the broker confirmed the copy, and given back if it did not.
    pub fn park(&self, message: Outgoing, delivery: Delivery, deadline: Deadline) {
        self.settle_with(message.through(DEAD), Purpose::Park(delivery), deadline);
    }

    fn settle_with(&self, message: Outgoing, purpose: Purpose, deadline: Deadline) {
        let publish = Publish {
            message,
            purpose,
            deadline,
        };
        // A refused one drops its delivery, which so goes back to the broker.
        if self.inner.queue.try_send(publish).is_err() {
            self.inner.shared.metrics.limit_reached("amqp_send_queue");
        }
    }
}

fn random_key() -> Result<u128, Fault> {
    random_bits().ok_or_else(|| Fault::new(Kind::Internal, "the system gives no random numbers"))
}

fn crowded() -> Fault {
    Fault::new(
        Kind::Overloaded,
        "too many requests wait for this broker, try again soon",
    )
    .with_retry_after(Duration::from_secs(1))
}

fn no_responder() -> Fault {
    Fault::new(
        Kind::NoResponder,
        "no queue takes this request: its service is not there",
    )
}

fn lost() -> Fault {
    Fault::unavailable(
        "link_lost",
        "the connection to the broker was lost before the reply came",
    )
    .handed_over()
}

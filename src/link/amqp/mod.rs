//! Links to AMQP 0.9.1 brokers (written against RabbitMQ).
//!
//! Up to three connections per bus, each owned by one task that connects, restores everything and
//! watches: one sends (requests, with their replies on the same channel, answers, events), one
//! receives calls, one receives events. A broker that blocks whoever publishes (a memory or disk
//! alarm) so does not stop what is received. The library's own recovery is off: it hangs silently when its tries are used up, and
//! cannot restore what the broker still holds for the lost connection.

mod client;
mod connect;
mod consumer;
mod delivery;
mod events;
mod exchanges;
mod flight;
mod intake;
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

use tokio::sync::{mpsc, oneshot};

use self::events::Events;
use self::exchanges::Exchanges;
use self::intake::Intake;
use self::publisher::{Publish, Publisher, Purpose};
use super::Backoff;
use super::board::{Board, Role};
use crate::call::{Deadline, Fault, Kind, Pending, random_bits};
use crate::config::AmqpBus;
use crate::context::Context;
use crate::observe::{LinkState, Metrics};

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
    pending: Pending<u128, Result<Message, Fault>>,
    standing: AtomicU8,
    exchanges: Exchanges,
    board: Board,
    metrics: Arc<Metrics>,
}

/// How the sending connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Standing {
    Connecting,
    Down,
    Up,
    Blocked,
}

impl Shared {
    fn set_standing(&self, standing: Standing, why: &str) {
        self.standing.store(standing as u8, Ordering::Release);
        let (state, why) = match standing {
            Standing::Connecting => (LinkState::Connecting, why),
            Standing::Down => (LinkState::Down, why),
            Standing::Up => (LinkState::Up, why),
            Standing::Blocked => (LinkState::Degraded, "the broker takes no messages for now"),
        };
        self.board.set(Role::Send, state, why);
    }

    /// `unavailable` unless requests can be sent now.
    fn ready(&self) -> Result<(), Fault> {
        match self.standing.load(Ordering::Acquire) {
            s if s == Standing::Up as u8 => Ok(()),
            s if s == Standing::Blocked as u8 => Err(blocked()),
            _ => Err(down()),
        }
    }

    /// Ends the wait for a reply or a confirmation. Nobody there: whoever waited has gone away.
    fn fail(&self, purpose: Purpose, fault: Fault) {
        match purpose {
            Purpose::Request(key) => self.pending.complete(&key, Err(fault)).unwrap_or_default(),
            Purpose::Event(told) => told.send(Err(fault)).unwrap_or_default(),
            Purpose::Answer(_) | Purpose::Park(_) => {}
        }
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

fn unconfirmed() -> Fault {
    Fault::unavailable(
        "unconfirmed",
        "the broker did not confirm the message in time",
    )
    .handed_over()
}

impl AmqpLink {
    /// A link that is not connected yet, and what connects it.
    pub fn prepare(context: &Context, bus: &Arc<AmqpBus>) -> (AmqpLink, Start) {
        let (queue, messages) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            pending: Pending::new(context.config.limits.in_flight),
            standing: AtomicU8::new(Standing::Down as u8),
            exchanges: Exchanges::new(exchanges::outward(&context.config, bus)),
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
        self.take_in(Intake::Calls(queue.into()), on_message);
    }

    /// Takes the events that channels want of this bus, from the queue `<group>.<bus>.events`:
    /// `on_message` is asked for each and must not wait. Without such channels it only unbinds
    /// what an earlier configuration had bound.
    pub fn receive_events(&self, on_message: impl Fn(Message, Delivery) + Send + Sync + 'static) {
        let events = Events::of(&self.inner.context, &self.inner.bus);
        self.take_in(Intake::Events(events), on_message);
    }

    fn take_in(
        &self,
        intake: Intake,
        on_message: impl Fn(Message, Delivery) + Send + Sync + 'static,
    ) {
        let Inner {
            bus,
            shared,
            context,
            ..
        } = &*self.inner;
        let receiver = consumer::Receiver::new(
            context.clone(),
            bus.clone(),
            intake,
            shared.clone(),
            on_message,
        );
        context.tasks.spawn(receiver.run());
    }

    /// Waits until messages can be sent, for as long as that takes.
    pub async fn sendable(&self) {
        self.inner.shared.board.sending().await;
    }

    /// Publishes an event: queues it at once, so in the order of the calls; the future waits until
    /// the broker has confirmed it. Whether any queue took it does not matter.
    ///
    /// Returns `unavailable` while the broker is away or blocked, its exchange is not to be used,
    /// or the broker refuses the message; the same, handed over, if its fate is not known:
    /// because the link was lost, or `deadline` passed. `overloaded` if too much waits to be sent.
    pub fn publish(
        &self,
        message: Outgoing,
        deadline: Deadline,
    ) -> impl Future<Output = Result<(), Fault>> + Send + use<> {
        let queued = self.queue_event(message, deadline);
        async move { queued?.await.unwrap_or_else(|_| Err(unknown_fate())) }
    }

    fn queue_event(
        &self,
        message: Outgoing,
        deadline: Deadline,
    ) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
        self.ready(message.exchange.as_str())?;
        let (told, hears) = oneshot::channel();
        let publish = Publish {
            message,
            purpose: Purpose::Event(told),
            deadline,
        };
        self.inner.queue.try_send(publish).map_err(|_| {
            self.inner.shared.metrics.limit_reached("amqp_send_queue");
            crowded()
        })?;
        Ok(hears)
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
        let Err(refused) = self.inner.queue.try_send(publish) else {
            return;
        };
        let metrics = &self.inner.shared.metrics;
        metrics.limit_reached("amqp_send_queue");
        // Any other drops its delivery, which so goes back to the broker.
        if let Purpose::Answer(delivery) = refused.into_inner().purpose {
            // The call is done: delivered again, it would be done twice.
            metrics.dropped("amqp", "reply_not_taken");
            delivery.ack();
        }
    }
}

fn random_key() -> Result<u128, Fault> {
    random_bits().ok_or_else(|| Fault::new(Kind::Internal, "the system gives no random numbers"))
}

fn crowded() -> Fault {
    Fault::new(
        Kind::Overloaded,
        "too many messages wait for this broker, try again soon",
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

fn unknown_fate() -> Fault {
    Fault::unavailable(
        "link_lost",
        "the connection to the broker was lost before it confirmed the message",
    )
    .handed_over()
}

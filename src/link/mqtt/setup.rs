//! What a link is made from.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::subscription::Inlet;
use super::{Deliveries, receiving, sending};
use crate::config::{Limits, MqttBus};
use crate::context::Context;
use crate::link::memory::Memory;
use crate::link::mqtt::MqttLink;
use crate::observe::{LinkStates, Metrics};

/// What a link is made from.
pub struct Setup {
    /// The broker.
    pub bus: Arc<MqttBus>,
    /// Of the connection that sends. Unique at the broker: a second connection with the same id
    /// ends the first.
    pub client_id: String,
    /// The topic prefix below which replies are awaited.
    pub inbox: String,
    /// Bounds of messages and queues.
    pub limits: Limits,
    /// What comes in, on a connection of its own.
    pub inward: Inward,
    /// Where the owning tasks run.
    pub tasks: TaskTracker,
    /// Ends the link: what is queued is sent first, nothing more is taken.
    pub stop: CancellationToken,
    /// Where its state is shown.
    pub links: Arc<LinkStates>,
    /// Where strays are counted.
    pub metrics: Arc<Metrics>,
}

/// What comes in.
pub struct Inward {
    /// Of the connection that receives; unique as well.
    pub client_id: String,
    /// What is taken, and by whom. There is no connection without.
    pub inlets: Vec<Inlet>,
    /// Whether the broker keeps what comes while callway is away.
    pub(super) session: Session,
}

/// What the broker keeps for a client that is away.
pub(super) enum Session {
    /// Nothing.
    Clean,
    /// Subscriptions, which are remembered here as well, and what comes of them, for so long (MQTT
    /// 3.1.1 has no such bound).
    Kept(Memory<String>),
}

impl Setup {
    /// The link of the daemon to one of its buses. `calls`, `events` and `addresses` (scriptr's)
    /// take what comes in of each kind, if the bus has any.
    pub fn of(
        context: &Context,
        bus: &Arc<MqttBus>,
        calls: Option<Arc<dyn Deliveries>>,
        events: Option<Arc<dyn Deliveries>>,
        addresses: Option<Arc<dyn Deliveries>>,
    ) -> Setup {
        let name = &bus.common.name;
        let client_id = format!("callway-{}-{name}", context.config.cluster.instance);
        let calls = calls.and_then(|taker| Inlet::calls(bus, taker));
        let events = events.and_then(|taker| Inlet::events(&context.config, bus, taker));
        let addresses = addresses.and_then(|taker| Inlet::addresses(bus, taker));
        let memory = Memory::new(&context.store, format!("mqtt/{name}/subscribed"));
        Setup {
            bus: bus.clone(),
            inward: Inward {
                client_id: format!("{client_id}-in"),
                inlets: [calls, events, addresses].into_iter().flatten().collect(),
                session: Session::Kept(memory),
            },
            client_id,
            inbox: format!("callway/inbox/{}", context.config.cluster.instance),
            limits: context.config.limits.clone(),
            tasks: context.background.clone(),
            stop: context.stop.clone(),
            links: context.links.clone(),
            metrics: context.metrics.clone(),
        }
    }
}

/// A link that waits to be started: once calls can be taken.
#[must_use = "the link does nothing before it is started"]
pub struct Start {
    pub(super) link: MqttLink,
    pub(super) setup: Setup,
}

impl Start {
    /// Lets the owning tasks run. Never waits for the broker.
    pub fn start(self) {
        let setup = Arc::new(self.setup);
        let receives = receiving::keep(self.link.clone(), setup.clone());
        setup.tasks.spawn(receives);
        setup.tasks.spawn(sending::keep(self.link, setup.clone()));
    }
}

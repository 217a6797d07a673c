//! The link without a daemon: one request of a command, and a look at a broker.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inbox::Correlation;
use super::setup::Session;
use super::{Deliveries, Delivery, Inlet, Inward, Message, MqttLink, Receipt, ReplyTo, Setup};
use crate::call::{Deadline, Fault, Kind};
use crate::config::{Config, Limits, MqttBus};
use crate::observe::{LinkStates, Metrics};

/// How long a broker may take to accept a connection and its subscriptions.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects, publishes one request, waits for its reply, which is awaited below `replies`, and
/// leaves.
///
/// Returns `unavailable` if the broker is away, `no_responder` if it says that nobody has
/// subscribed the topic, and `timeout` at the deadline.
pub async fn ask(
    bus: &Arc<MqttBus>,
    replies: &str,
    make: impl FnOnce(ReplyTo) -> Message,
    deadline: Deadline,
) -> Result<Delivery, Fault> {
    let visit = Visit::start(bus, replies, Limits::default(), Vec::new());
    let asked = async {
        let up = visit.link.up(PATIENCE.min(deadline.remaining())).await;
        up.map_err(|why| Fault::unavailable("link_down", format!("the broker: {why}")))?;
        visit.link.request(make).await
    };
    let late = || Err(Fault::new(Kind::Timeout, "no reply came in time"));
    let outcome = timeout_at(deadline.instant(), asked).await;
    visit.leave().await;
    outcome.unwrap_or_else(|_| late())
}

/// Connects to a bus and subscribes what callway would subscribe, without taking anything from the
/// session that the broker keeps for it: says what works, or why it does not.
pub async fn probe(config: &Config, bus: &Arc<MqttBus>) -> Result<String, String> {
    let replies = format!("callway/inbox/{}", config.cluster.instance);
    let calls = Inlet::calls(bus, Arc::new(Unread));
    let events = Inlet::events(config, bus, Arc::new(Unread));
    let addresses = Inlet::addresses(bus, Arc::new(Unread));
    let mut what = vec!["an inbox".to_owned()];
    what.extend(
        calls
            .iter()
            .chain(&addresses)
            .map(|inlet| inlet.subscriptions[0].filter.clone()),
    );
    what.extend(
        events
            .iter()
            .map(|events| match events.subscriptions.len() {
                1 => events.subscriptions[0].filter.clone(),
                count => format!("{count} filters of channels"),
            }),
    );
    let inlets = [calls, events, addresses].into_iter().flatten().collect();
    let visit = Visit::start(bus, &replies, config.limits.clone(), inlets);
    let up = visit.link.up(PATIENCE).await;
    visit.leave().await;
    up.map(|()| format!("connection, and subscribing {},", what.join(" and ")))
}

/// Lets what comes in pass: the daemon has a copy of its own.
struct Unread;

impl Deliveries for Unread {
    fn deliver(&self, _link: &MqttLink, _delivery: Delivery, receipt: Receipt) {
        receipt.ack();
    }
}

/// A link for a short time, under a name of its own, so that it drives nobody out.
struct Visit {
    link: MqttLink,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Visit {
    fn start(bus: &Arc<MqttBus>, replies: &str, limits: Limits, inlets: Vec<Inlet>) -> Visit {
        let name = Correlation::random();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new());
        let (link, start) = MqttLink::prepare(Setup {
            bus: bus.clone(),
            client_id: format!("callway-{name}"),
            inbox: format!("{replies}/{name}"),
            limits,
            inward: Inward {
                client_id: format!("callway-{name}-in"),
                inlets,
                session: Session::Clean,
            },
            tasks: tasks.clone(),
            stop: stop.clone(),
            links: Arc::new(LinkStates::new(metrics.clone())),
            metrics,
        });
        start.start();
        Visit { link, tasks, stop }
    }

    /// Bounded by the link's own farewell.
    async fn leave(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

//! The link without a daemon: one request of a command, and a look at a broker.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inbox::Correlation;
use super::{Deliveries, Delivery, Message, MqttLink, ReplyTo, Setup};
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
    let visit = Visit::start(bus, replies, Limits::default(), None);
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

/// Connects to a bus and subscribes what callway would subscribe, without taking anything: says
/// what works, or why it does not.
pub async fn probe(config: &Config, bus: &Arc<MqttBus>) -> Result<String, String> {
    let replies = format!("callway/inbox/{}", config.cluster.instance);
    let calls = bus
        .calls
        .is_some()
        .then(|| Arc::new(Unread) as Arc<dyn Deliveries>);
    let visit = Visit::start(bus, &replies, config.limits.clone(), calls);
    let up = visit.link.up(PATIENCE).await;
    visit.leave().await;
    up.map(|()| match &bus.calls {
        Some(prefix) => format!("connection, and subscribing an inbox and {prefix}/#,"),
        None => "connection, and subscribing an inbox,".into(),
    })
}

/// Lets calls pass: they are the daemon's.
struct Unread;

impl Deliveries for Unread {
    fn deliver(&self, _link: &MqttLink, _delivery: Delivery) {}
}

/// A link for a short time, under a name of its own, so that it drives nobody out.
struct Visit {
    link: MqttLink,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Visit {
    fn start(
        bus: &Arc<MqttBus>,
        replies: &str,
        limits: Limits,
        calls: Option<Arc<dyn Deliveries>>,
    ) -> Visit {
        let name = Correlation::random();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new());
        let (link, start) = MqttLink::prepare(Setup {
            bus: bus.clone(),
            client_id: format!("callway-{name}"),
            inbox: format!("{replies}/{name}"),
            limits,
            calls,
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

//! What every running part shares.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::StartError;
use crate::auth::{Authenticator, Tickets};
use crate::call::Fault;
use crate::channel::{Hub, Scripts, Seal};
use crate::config::Config;
use crate::dialect::flow::Pass;
use crate::ingress::Devices;
use crate::observe::{LinkStates, Metrics, ServiceStates};
use crate::once::Once;
use crate::oneway::OneWay;
use crate::router::{Dispatcher, Table};
use crate::schedule::Schedule;
use crate::spool::Spool;
use crate::store::{Letter, Store};
use crate::target::Workers;
use crate::webhook::Webhooks;

/// Takes a dead letter back to where it was going; comes back once it has arrived.
pub type Revive = Arc<dyn Fn(Letter) -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>;

/// How long a Flow client may take to open the socket that it was promised.
const PASS: Duration = Duration::from_secs(60);

/// Cloned into every task, at the cost of a pointer: there is one for each connection at least.
/// Spawn only through [`Parts::tasks`] or [`Parts::background`], so that shutdown can wait.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

impl Deref for Context {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts themselves.
pub struct Parts {
    /// The validated configuration.
    pub config: Arc<Config>,
    /// Proves callers.
    pub auth: Arc<Authenticator>,
    /// The one way to a target.
    pub dispatcher: Arc<Dispatcher>,
    /// Connected clients that answer methods.
    pub workers: Arc<Workers>,
    /// The state of every link.
    pub links: Arc<LinkStates>,
    /// The state of every service.
    pub services: Arc<ServiceStates>,
    /// What must survive and be looked up.
    pub store: Store,
    /// What waits on disk for a bus, or to be carried out.
    pub spool: Spool,
    /// The calls with idempotency keys.
    pub once: Once,
    /// The calls that nobody waits for.
    pub oneway: Arc<OneWay>,
    /// How dead letters are tried again, once somebody can.
    pub revive: Arc<OnceLock<Revive>>,
    /// What is posted to the webhooks of Flow endpoints.
    pub webhooks: Arc<Webhooks>,
    /// The sockets that Flow clients were promised and have not opened yet.
    pub passes: Arc<Tickets<Pass>>,
    /// Knows the events again that callway speaks for.
    pub seal: Seal,
    /// The channels.
    pub hub: Arc<Hub>,
    /// The scripts that subscribed to channels themselves.
    pub scripts: Scripts,
    /// What scripts have scheduled.
    pub schedule: Arc<Schedule>,
    /// When this process began to serve.
    pub started: Instant,
    /// The sessions of MQTT clients, where an endpoint has some.
    pub devices: Arc<OnceLock<Arc<Devices>>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The tasks that a drain waits for: client connections and deliveries being answered.
    /// They finish what they have once `drain` is cancelled.
    pub tasks: TaskTracker,
    /// The tasks that the others need until their last call is answered: links, script hosts, the
    /// administration interface. They end once `stop` is cancelled, what is queued sent first.
    pub background: TaskTracker,
    /// Cancelled when callers are no longer let in: listeners stop accepting, sessions finish
    /// the calls they have and close with 1001.
    pub drain: CancellationToken,
    /// Cancelled when the drain is over: every task ends now.
    pub stop: CancellationToken,
}

impl Context {
    /// What a configuration asks for; nothing runs yet, and the routing table is empty.
    pub fn new(config: Config) -> Result<Context, StartError> {
        let metrics = Arc::new(Metrics::new());
        let failures = config.limits.auth_failures;
        let auth = Authenticator::new(
            config.tokens.iter().cloned(),
            failures.count,
            failures.period,
            metrics.clone(),
        )
        .with_certificates(config.certificates.iter().cloned());
        let limits = config.limits.clone();
        let store = Store::open(&config.store.database, &metrics)?;
        let spool = Spool::open(&config.store.spool(), &limits, &metrics)?;
        let tasks = TaskTracker::new();
        let once = Once::new(store.clone(), &limits, metrics.clone(), tasks.clone());
        let oneway = Arc::new(OneWay::new(spool.clone(), store.clone()));
        let dispatcher = Dispatcher::new(
            Table::default(),
            limits,
            metrics.clone(),
            once.clone(),
            oneway.clone(),
        );
        Ok(Context(Arc::new(Parts {
            auth: Arc::new(auth),
            dispatcher: Arc::new(dispatcher),
            workers: Arc::new(Workers::default()),
            links: Arc::new(LinkStates::new(metrics.clone())),
            services: Arc::new(ServiceStates::new(metrics.clone())),
            webhooks: Arc::new(Webhooks::new(&config, &spool)?),
            passes: Arc::new(Tickets::new(PASS)),
            seal: Seal::new(&store.secret("seal")?),
            hub: Hub::new(&config, &store, &metrics)?,
            scripts: Scripts::new(store.clone()),
            schedule: Arc::new(Schedule::new(store.clone())),
            store,
            spool,
            once,
            oneway,
            revive: Arc::default(),
            started: Instant::now(),
            devices: Arc::default(),
            metrics,
            tasks,
            background: TaskTracker::new(),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
            config: Arc::new(config),
        })))
    }

    /// Keeps a dead letter.
    pub async fn bury(&self, letter: Letter) -> Result<(), Fault> {
        let kept = self.store.bury(letter, self.config.limits.dead_count).await;
        kept.map(drop)
            .inspect_err(|fault| tracing::error!(%fault, "a dead letter cannot be kept"))
    }
}

//! What every running part shares.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::StartError;
use crate::auth::Authenticator;
use crate::config::Config;
use crate::observe::{LinkStates, Metrics};
use crate::router::{Dispatcher, Table};
use crate::spool::Spool;
use crate::store::Store;
use crate::target::Workers;

/// Cloned into every task. Spawn only through [`Context::tasks`] or [`Context::background`], so that
/// shutdown can wait.
#[derive(Clone)]
pub struct Context {
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
    /// What must survive and be looked up.
    pub store: Store,
    /// What waits on disk for a bus, or to be carried out.
    pub spool: Spool,
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
        );
        let dispatcher = Dispatcher::new(Table::default(), config.limits.clone(), metrics.clone());
        Ok(Context {
            auth: Arc::new(auth),
            dispatcher: Arc::new(dispatcher),
            workers: Arc::new(Workers::default()),
            links: Arc::new(LinkStates::new(metrics.clone())),
            store: Store::open(&config.store.database, &metrics)?,
            spool: Spool::open(&config.store.spool(), &config.limits, &metrics)?,
            metrics,
            tasks: TaskTracker::new(),
            background: TaskTracker::new(),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
            config: Arc::new(config),
        })
    }
}

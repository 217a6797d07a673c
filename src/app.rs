//! Wires everything from a validated configuration: [`App::build`] binds, [`App::run`] runs.

mod accounts;
mod links;
mod revive;
mod targets;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::links::Links;
use self::targets::Targets;
use crate::bridge::Bridge;
use crate::call::Fault;
use crate::channel;
use crate::config::Config;
use crate::context::Context;
use crate::ingress::{self, Admin, Listeners};
use crate::oneway;
use crate::router::Table;
use crate::schedule;
use crate::script::Services;
use crate::spool::SpoolError;
use crate::store::StoreError;
use crate::systemd::Supervisor;

/// How long what ends may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(1);

/// A daemon whose sockets are bound and whose parts are wired, but which does nothing yet.
pub struct App {
    context: Context,
    listeners: Listeners,
    admin: Admin,
    links: Links,
    bridge: Arc<Bridge>,
    services: Services,
}

/// Why a daemon could not be built.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The admin socket cannot be had.
    #[error("cannot listen on {}: {source}; see admin.socket", path.display())]
    Socket {
        /// Where it was to be.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate, key or authority cannot be used.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// What must survive cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What must survive cannot be kept.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The system gives no HTTP client.
    #[error("cannot set up HTTP for routes and webhooks: {0}")]
    HttpClient(#[from] Fault),
}

impl App {
    /// Binds the listeners and wires the parts. Brokers are not waited for.
    pub async fn build(config: Config) -> Result<App, StartError> {
        // First: nothing else is touched where an address is taken.
        let admin = Admin::bind(&config.admin).await?;
        let listeners = Listeners::bind(&config).await?;
        let context = Context::new(config)?;
        let targets = Targets::connect(&context)?;
        let mut table = Table::default();
        for route in &context.config.routes {
            if let Some(target) = targets.of(route) {
                table.add(route.clone(), target);
            }
        }
        context.dispatcher.replace_table(table);
        let links = &targets.links;
        let bridge = Bridge::new(&context, &links.mqtt, &links.amqp);
        context.hub.set_outward(bridge.clone());
        let services = Services::prepare(&context)?;
        revive::set(&context, &bridge);
        tokens::load(&context).await;
        accounts::load(&context).await;
        let auth = &context.auth;
        context.hub.restore_lasts(|name| auth.by_name(name)).await;
        context.scripts.load().await;
        ingress::restore_devices(&context).await;
        Ok(App {
            context,
            listeners,
            admin,
            links: targets.links,
            bridge,
            services,
        })
    }

    /// Where clients can connect, in the order of the configuration.
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.listeners.addresses()
    }

    /// Serves until `shutdown` is cancelled, then drains within `limits.drain`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        self.admin.serve(&self.context);
        tokens::watch(&self.context);
        self.links.start(&self.context);
        self.bridge.start();
        self.context.webhooks.start(&self.context);
        oneway::start(&self.context);
        schedule::start(&self.context);
        self.context.once.sweep(&self.context);
        let sweep = channel::sweep(self.context.hub.clone(), self.context.stop.clone());
        self.context.background.spawn(sweep);
        self.services.start();
        self.listeners.serve(&self.context);
        let supervisor = Supervisor::new(&self.context);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = supervisor.tell() => {}
        }
        supervisor.stopping();
        drain(self.context).await;
    }
}

/// Lets nobody in any more, waits for what is under way, then ends the rest.
async fn drain(context: Context) {
    context.dispatcher.drain();
    context.hub.drain();
    context.drain.cancel();
    context.tasks.close();
    context.background.close();
    let limit = context.config.limits.drain;
    if timeout(limit, context.tasks.wait()).await.is_err() {
        context.metrics.limit_reached("drain");
        tracing::warn!("the drain took too long, calls are cut off");
        context.dispatcher.cut_off();
        // Time to say so to those who wait; nobody gets it who does not read.
        timeout(FAREWELL, context.tasks.wait()).await.ok();
    }
    context.stop.cancel();
    let ended = timeout(FAREWELL, async {
        context.tasks.wait().await;
        context.background.wait().await;
    });
    if ended.await.is_err() {
        tracing::warn!("not everything ended in time");
    }
    if timeout(FAREWELL, context.spool.close()).await.is_err() {
        tracing::warn!("the spool did not end in time; what was delivered last may be sent again");
    }
}

//! Services: long-running scripts, each in a process of its own that is started again when it ends.
//!
//! The process computes and nothing else. What its script waits for (time, calls, web requests, the
//! store) is waited for here, as are its sockets and channels; both sides speak [`wire`].

mod asks;
mod host;
mod keeper;
mod life;
mod sockets;
mod tempo;
pub mod wire;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use self::host::service_main;
use super::fetch::Fetcher;
use super::library::Library;
use super::reach::Reach;
use crate::auth::Caller;
use crate::call::{Fault, Kind};
use crate::client::Trust;
use crate::config::Service;
use crate::context::Context;

/// Web requests of one service at once; more of them wait for their turn.
const MAX_FETCHES: usize = 16;

/// The configured services.
pub struct Services(Vec<Arc<Ground>>);

/// What one service stands on, whichever process it is in.
struct Ground {
    context: Context,
    row: Arc<Service>,
    /// Whom it acts as.
    caller: Caller,
    reach: Reach,
    fetcher: Fetcher,
    /// For each web request that may be under way at once.
    fetches: Semaphore,
    trust: Trust,
    library: Library,
}

impl Services {
    /// None runs yet.
    pub fn prepare(context: &Context) -> Result<Services, Fault> {
        let services = context.config.services.iter();
        let services = services.map(|row| Ground::new(context, row).map(Arc::new));
        Ok(Services(services.collect::<Result<_, Fault>>()?))
    }

    /// Starts all of them, and those that end again, until the process stops.
    pub fn start(&self) {
        for ground in &self.0 {
            let context = &ground.context;
            context.background.spawn(keeper::keep(ground.clone()));
        }
    }
}

impl Ground {
    fn new(context: &Context, row: &Arc<Service>) -> Result<Ground, Fault> {
        // The configuration names no token row that is not there.
        let caller = context.auth.by_name(&row.token);
        let gone = || Fault::new(Kind::Internal, "the token of a service is not there");
        let reach = Reach::new(&row.allow_urls, "the service's allow_urls");
        Ok(Ground {
            caller: caller.ok_or_else(gone)?,
            fetcher: Fetcher::new(reach.clone(), &context.config.limits)?,
            fetches: Semaphore::new(MAX_FETCHES),
            trust: Trust::load(None)?,
            library: Library::new(&context.config.scripts.directory),
            reach,
            row: row.clone(),
            context: context.clone(),
        })
    }

    fn name(&self) -> &str {
        &self.row.name
    }

    /// Where the store keeps what is its own.
    fn own_scope(&self) -> String {
        format!("service/{}", self.row.name)
    }

    /// Where the store keeps what it shares with the services of the same token.
    fn shared_scope(&self) -> String {
        format!("token/{}", self.row.token)
    }
}

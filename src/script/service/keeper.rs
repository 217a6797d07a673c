//! Keeps one service running: starts it, and again with growing waits when it ended against its
//! will.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Ground, life};
use crate::link::Backoff;
use crate::observe::ServiceState;

/// Between its end and the next start.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// A service that ran for so long begins with short waits again.
const STEADY: Duration = Duration::from_secs(60);

/// How a life of a service ended.
#[derive(Debug)]
pub(super) enum Over {
    /// Its main function returned.
    Returned,
    /// The daemon stops.
    Stopped,
    /// It failed: the word for it in metrics, and why.
    Failed(&'static str, String),
}

pub(super) async fn keep(ground: Arc<Ground>) {
    let context = &ground.context;
    let name = &ground.row.name;
    let mut backoff = Backoff::new(FIRST, LONGEST);
    loop {
        context.services.set(name, ServiceState::Starting);
        let started = Instant::now();
        let (reason, why) = match life::live(&ground).await {
            Over::Returned => {
                tracing::info!(
                    service = &**name,
                    "the service is over: its main function returned"
                );
                context.services.set(name, ServiceState::Ended);
                return;
            }
            Over::Stopped => return,
            Over::Failed(reason, why) => (reason, why),
        };
        if started.elapsed() > STEADY {
            backoff.reset();
        }
        let wait = backoff.next();
        tracing::warn!(
            service = &**name,
            reason,
            why,
            ?wait,
            "a service ended; it is started again"
        );
        context.services.set(name, ServiceState::Waiting);
        context.metrics.service_restarted(name, reason);
        tokio::select! {
            () = sleep(wait) => {}
            () = context.stop.cancelled() => return,
        }
    }
}

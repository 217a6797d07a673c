//! Shows a bus as degraded while its events wait longer than they should.

use std::sync::Arc;
use std::time::Duration;

use super::Bridge;
use crate::call::unix_ms;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// What waits longer than this shows that something is wrong, in milliseconds.
const LONG: u64 = 5_000;

/// Looks from time to time until the process stops.
pub(super) async fn watch(bridge: Arc<Bridge>) {
    let context = &bridge.context;
    let mut due = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = context.stop.cancelled() => return,
        }
        let now = unix_ms();
        let stats = context.spool.stats();
        for (name, bus) in &bridge.buses {
            let queue = stats.iter().find(|queue| *queue.queue == *bus.queue);
            let oldest = queue.and_then(|queue| queue.oldest);
            let waits = oldest.is_some_and(|oldest| now.saturating_sub(oldest) > LONG);
            context.links.set_backlog(name, waits);
        }
    }
}

//! Takes out of histories, and of the last events, what got too old while nothing was published.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Hub;

/// Between two rounds through all channels,
const ROUND: Duration = Duration::from_secs(10);
/// and between two steps of one, so that the writer has time for others.
const STEP: Duration = Duration::from_millis(50);

/// Goes round until `stop`.
pub async fn sweep(hub: Arc<Hub>, stop: CancellationToken) {
    stop.run_until_cancelled(rounds(hub)).await;
}

async fn rounds(hub: Arc<Hub>) {
    loop {
        sleep(ROUND).await;
        hub.lasts.sweep();
        let mut after = None;
        loop {
            let rows = hub.clone();
            let bounds = move |channel: &str| rows.row(channel).and_then(|row| row.history);
            match hub.store.sweep_events(after.take(), bounds).await {
                Ok(None) => break,
                Ok(looked_at) => after = looked_at,
                Err(fault) => {
                    tracing::debug!(%fault, "old events stay for now");
                    break;
                }
            }
            sleep(STEP).await;
        }
    }
}

//! Who wants to know whether an event arrived.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// One entry for each publisher that waits, by the number of the record in the spool.
#[derive(Default)]
pub(super) struct Waiters(Mutex<HashMap<u64, oneshot::Sender<bool>>>);

/// Waits for the fate of one record: true once it was confirmed, false once it was not. Dropping it
/// forgets the wait, so that what is under way bounds how many there are.
pub(super) struct Arrival {
    waiters: Arc<Waiters>,
    id: u64,
    hears: oneshot::Receiver<bool>,
}

impl Waiters {
    /// Starts to wait for a record.
    pub(super) fn wait(self: &Arc<Waiters>, id: u64) -> Arrival {
        let (tell, hears) = oneshot::channel();
        self.0.lock().insert(id, tell);
        Arrival {
            waiters: self.clone(),
            id,
            hears,
        }
    }

    /// A record has met its fate, this time.
    pub(super) fn tell(&self, id: u64, arrived: bool) {
        if let Some(waiter) = self.0.lock().remove(&id) {
            // Whoever waited may be going away.
            waiter.send(arrived).unwrap_or_default();
        }
    }
}

impl Future for Arrival {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        self.hears.poll_unpin(cx).map(|told| told.unwrap_or(false))
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.waiters.0.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_told_and_who_left_leaves_nothing_behind() {
        let waiters = Arc::new(Waiters::default());
        let (first, second, third) = (waiters.wait(1), waiters.wait(2), waiters.wait(3));
        waiters.tell(1, true);
        waiters.tell(2, false);
        assert!(first.await);
        assert!(!second.await);
        drop(third);
        waiters.tell(3, true);
        assert!(waiters.0.lock().is_empty());
    }
}

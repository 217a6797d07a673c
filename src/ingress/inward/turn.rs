//! What arrives in one turn of a connection's task is settled in one other task: most of it is kept
//! together as well, so that one is woken once instead of many.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

/// The arrivals of this turn. Their number is bounded by whoever hands them on.
#[derive(Default)]
pub(in crate::ingress) struct Turn(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Turn {
    /// Settles an arrival beside all others, of this turn and of earlier ones.
    pub(in crate::ingress) fn settle(
        &self,
        tasks: &TaskTracker,
        settling: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut arrivals = self.0.lock();
        arrivals.push(settling.boxed());
        // The first begins the task, which comes to run when the turn is over.
        if arrivals.len() == 1 {
            tasks.spawn(settle_all(self.0.clone()));
        }
    }
}

async fn settle_all(arrivals: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>) {
    let arrivals = std::mem::take(&mut *arrivals.lock());
    let mut all: FuturesUnordered<_> = arrivals.into_iter().collect();
    while all.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn none_waits_for_another_and_the_tracker_for_all() {
        let (turn, tasks) = (Turn::default(), TaskTracker::new());
        let mut callers = Vec::new();
        let mut settled = Vec::new();
        for _ in 0..3 {
            let (call, called) = oneshot::channel::<()>();
            let (tell, told) = oneshot::channel();
            callers.push(call);
            settled.push(told);
            turn.settle(&tasks, async move {
                called.await.unwrap_or_default();
                tell.send(()).unwrap_or_default();
            });
        }
        assert_eq!(tasks.len(), 1, "one task for a turn");
        tasks.close();
        for (call, told) in callers.into_iter().zip(settled).rev() {
            assert!(!tasks.is_empty());
            drop(call);
            told.await.unwrap();
        }
        tasks.wait().await;
        turn.settle(&tasks, async {});
        assert_eq!(tasks.len(), 1, "the next turn has its own");
        tasks.wait().await;
    }
}

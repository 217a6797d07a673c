//! Whoever delivers what waits in a queue.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;
use tokio::time::timeout_at;

use super::Spool;
use super::shared::Next;

/// The one consumer of a queue. Several of its items may be out at once.
pub struct Consumer {
    spool: Spool,
    queue: usize,
    more: Arc<Notify>,
}

/// A record to be delivered. Dropped, it is given back and comes again, before newer ones.
#[must_use = "dropped, it comes again"]
pub struct Item {
    /// Its place in the order of all records.
    pub id: u64,
    /// What was appended.
    pub body: Bytes,
    /// When, in milliseconds since 1970.
    pub accepted: u64,
    /// How often it was handed out before by this process.
    pub attempts: u32,
    /// Where it came from; `None` once it is known what becomes of it.
    source: Option<(Spool, usize)>,
}

impl Consumer {
    pub(super) fn new(spool: Spool, name: &str) -> Consumer {
        let mut state = spool.shared().state();
        let queue = state.queue(name);
        let more = state.queues[queue].more.clone();
        drop(state);
        Consumer { spool, queue, more }
    }

    /// Waits for the next record: the first of those whose lanes do not wait. Nothing is lost if
    /// this is dropped. Once the spool is closed nothing comes any more.
    pub async fn next(&mut self) -> Item {
        loop {
            // However much there is, others have their turn.
            consume_budget().await;
            match self.spool.shared().next(self.queue) {
                Next::Item { id, attempts, body } => {
                    return Item {
                        id,
                        body: body.bytes,
                        accepted: body.accepted,
                        attempts: attempts.into(),
                        source: Some((self.spool.clone(), self.queue)),
                    };
                }
                Next::GoOn => tokio::task::yield_now().await,
                Next::Nobody(None) => self.more.notified().await,
                // Whether something came or a lane is due is seen by looking.
                Next::Nobody(Some(due)) => {
                    timeout_at(due, self.more.notified())
                        .await
                        .unwrap_or_default();
                }
            }
        }
    }
}

impl Item {
    /// It was delivered. That is on disk soon; should the process die before, it comes again.
    pub fn done(mut self) {
        if let Some((spool, queue)) = self.source.take() {
            spool.shared().done(queue, self.id);
        }
    }

    /// It could not be delivered: its lane waits so long, with everything that comes after it in
    /// the same lane.
    pub fn later(mut self, wait: Duration) {
        if let Some((spool, queue)) = self.source.take() {
            spool.shared().give_back(queue, self.id, Some(wait));
        }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        if let Some((spool, queue)) = self.source.take() {
            spool.shared().give_back(queue, self.id, None);
        }
    }
}

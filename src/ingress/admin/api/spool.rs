//! `/api/spool`: shows what waits on disk, hurries it, removes it.

use serde_json::{Value, json};

use super::{Api, Ask, ok, shown};
use crate::call::{Fault, Kind, rfc3339};
use crate::dialect::http::Answer;
use crate::spool::{Lane, Listed, QueueStats, Spool};

/// Messages in one answer unless it asks for more or less.
const PAGE: u64 = 100;
/// Messages in one answer at most.
const MAX_PAGE: u64 = 1000;

impl Api {
    /// With `queue` in the query only that one is meant.
    pub(super) async fn spool(&self, ask: &Ask<'_>) -> Result<Answer, Fault> {
        let queue = ask.text("queue");
        match ask.verb {
            "GET" => {
                let count = ask.number("count")?.unwrap_or(PAGE).min(MAX_PAGE) as usize;
                let looked = self.on_disk(move |spool| look(spool, queue.as_deref(), count));
                Ok(ok(&looked.await?))
            }
            "DELETE" => {
                let purge = move |spool: &Spool| spool.purge(queue.as_deref());
                let purged = self.on_disk(purge).await?;
                tracing::info!(purged, "spooled messages were removed");
                Ok(ok(&json!({ "purged": purged })))
            }
            _ => ask.not_allowed("GET, HEAD, DELETE"),
        }
    }

    /// What waits for its next try is due at once.
    pub(super) async fn retry_spool(&self, ask: &Ask<'_>) -> Result<Answer, Fault> {
        if ask.verb != "POST" {
            return ask.not_allowed("POST");
        }
        self.context.spool.retry_now(ask.text("queue").as_deref());
        Ok(Answer::empty(204))
    }

    /// The disk may be slow; health is answered meanwhile.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let spool = self.context.spool.clone();
        let background = &self.context.background;
        let done = background.spawn_blocking_on(move || work(&spool), &self.main);
        done.await
            .map_err(|_| Fault::new(Kind::Internal, "a defect of callway"))
    }
}

fn look(spool: &Spool, queue: Option<&str>, count: usize) -> Value {
    let stats = spool.stats();
    let is_meant = |stats: &&QueueStats| queue.is_none_or(|queue| *stats.queue == *queue);
    let queues: Vec<_> = stats.iter().filter(is_meant).map(counted).collect();
    let messages = spool.list(queue, count);
    let messages: Vec<_> = messages.iter().map(listed).collect();
    json!({ "queues": queues, "messages": messages })
}

fn counted(stats: &QueueStats) -> Value {
    json!({
        "queue": *stats.queue,
        "messages": stats.messages,
        "bytes": stats.bytes,
        "oldest": stats.oldest.map(rfc3339),
    })
}

fn listed(message: &Listed) -> Value {
    json!({
        "id": message.id,
        "queue": *message.queue,
        // What is in order with each other has the same.
        "lane": match message.lane {
            Lane::Own => Value::Null,
            Lane::Named(lane) => format!("{lane:016x}").into(),
        },
        "accepted": rfc3339(message.accepted),
        "bytes": message.bytes,
        "attempts": message.attempts,
        "body": shown(&message.body),
    })
}

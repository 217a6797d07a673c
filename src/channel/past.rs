//! What a channel keeps of its past, as clients ask for it.

use std::sync::Arc;

use tokio::time::timeout;

use super::{Event, Hub, Placed, Position};
use crate::auth::{Caller, Verb};
use crate::call::Fault;
use crate::store::{Page, Record, Which};

/// Events without a wish for a number.
const USUAL: usize = 100;
/// The most events at once, whatever is wished for.
const MOST: usize = 1000;

/// Which part of the past is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The channel's name, as it was written.
    pub channel: Arc<str>,
    /// How many events at most; 100 unless it says so, never more than 1,000 nor more bytes than
    /// `limits.message`.
    pub count: Option<usize>,
    /// Those after this one, the oldest first; without it the latest ones.
    pub since: Option<Position>,
}

/// A part of the past.
#[derive(Debug)]
pub struct Past {
    /// In the order of the channel.
    pub events: Vec<Placed>,
    /// Where the channel stood when it was looked at.
    pub position: Position,
    /// The last event, where a broker keeps one for the channel; it has no position.
    pub last: Option<Event>,
}

impl Past {
    /// `{"events":[…],"position","last"?}`.
    pub fn to_json(&self) -> String {
        let mut text = String::from(r#"{"events":["#);
        for (index, placed) in self.events.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&placed.to_json());
        }
        text.push_str(&format!(r#"],"position":"{}""#, self.position));
        if let Some(last) = &self.last {
            text.push_str(r#","last":"#);
            text.push_str(&last.to_json(None));
        }
        text.push('}');
        text
    }
}

impl Hub {
    /// Looks into a channel's past. Needs the grant to subscribe.
    pub async fn history(&self, caller: &Caller, query: Query) -> Result<Past, Fault> {
        let row = self.admit(caller, Verb::Subscribe, &query.channel)?;
        let last = self.lasts.get(&query.channel);
        if row.history.is_none() {
            return Ok(Past {
                events: Vec::new(),
                position: self.live.standing(&query.channel),
                last,
            });
        }
        let which = match query.since {
            None => Which::Latest,
            Some(since) if since.epoch == self.epoch => Which::After(since.seq),
            // A place that means nothing any more: all that is there may be new.
            Some(_) => Which::After(0),
        };
        let count = query.count.unwrap_or(USUAL).min(MOST);
        let bytes = self.limits.message;
        let page = self.page(&query.channel, which, count, bytes).await?;
        let placed = |record| self.placed(&query.channel, record);
        Ok(Past {
            events: page.events.into_iter().map(placed).collect(),
            position: self.position(page.seq),
            last,
        })
    }

    /// Reads a part of a history, if the disk answers in time.
    pub(super) async fn page(
        &self,
        channel: &Arc<str>,
        which: Which,
        count: usize,
        bytes: usize,
    ) -> Result<Page, Fault> {
        let reading = self.store.events(channel.clone(), which, count, bytes);
        let page = timeout(self.limits.timeout, reading).await;
        page.unwrap_or_else(|_| {
            let message = "the disk does not answer in time";
            Err(Fault::unavailable("storage_failed", message))
        })
    }

    /// An event as the history has it.
    pub(super) fn placed(&self, channel: &Arc<str>, record: Record) -> Placed {
        let event = Event {
            id: record.id,
            channel: channel.clone(),
            time: record.time,
            payload: record.payload,
            hops: 0,
            traceparent: None,
        };
        Placed::new(event, self.position(record.seq))
    }

    /// A place in a channel with history.
    pub(super) fn position(&self, seq: u64) -> Position {
        Position {
            epoch: self.epoch,
            seq,
        }
    }
}

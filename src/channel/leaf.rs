//! A channel's past by pages, as clients turn them: the newest page is the first.

use std::sync::Arc;

use tokio::time::timeout;

use super::{Hub, Placed};
use crate::auth::{Caller, Verb};
use crate::call::Fault;

/// One page.
#[derive(Debug)]
pub struct Leaf {
    /// In the order of the channel.
    pub events: Vec<Placed>,
    /// How many events there are on all pages.
    pub all: usize,
}

impl Hub {
    /// Looks at page `number`, from 1, of so many events each. Needs the grant to subscribe; a
    /// channel without a history has no pages.
    pub async fn leaf(
        &self,
        caller: &Caller,
        channel: &Arc<str>,
        number: usize,
        size: usize,
    ) -> Result<Leaf, Fault> {
        let row = self.admit(caller, Verb::Subscribe, channel)?;
        if row.history.is_none() {
            return Ok(Leaf {
                events: Vec::new(),
                all: 0,
            });
        }
        let skip = number.saturating_sub(1).saturating_mul(size);
        let reading = self.store.leaf(channel.clone(), skip, size);
        let (records, all) = timeout(self.limits.timeout, reading)
            .await
            .unwrap_or_else(|_| {
                let message = "the disk does not answer in time";
                Err(Fault::unavailable("storage_failed", message))
            })?;
        let records = records.into_iter();
        Ok(Leaf {
            events: records.map(|record| self.placed(channel, record)).collect(),
            all,
        })
    }
}

//! Pages of a channel's history, counted from its end.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, params};

use super::Store;
use super::history::{Record, record};
use crate::call::Fault;

impl Store {
    /// The events of a channel behind its latest `skip`, up to `count`, in the order of the channel;
    /// and how many there are altogether.
    pub async fn leaf(
        &self,
        channel: Arc<str>,
        skip: usize,
        count: usize,
    ) -> Result<(Vec<Record>, usize), Fault> {
        self.read(move |db| {
            // One view of both, whatever is written meanwhile.
            let view = db.unchecked_transaction()?;
            let all: Option<i64> = view
                .prepare_cached("SELECT count FROM channel WHERE name = ?")?
                .query_row([&channel], |row| row.get(0))
                .optional()?;
            let mut events = view
                .prepare_cached(
                    "SELECT seq, id, time, form, payload FROM event WHERE channel = ?
                     ORDER BY seq DESC LIMIT ? OFFSET ?",
                )?
                .query_map(params![channel, count as i64, skip as i64], record)?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            view.commit()?;
            events.reverse();
            Ok((events, all.unwrap_or(0).unsigned_abs() as usize))
        })
        .await
    }
}

//! Idempotency keys and the outcomes of their calls.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use super::Store;
use crate::call::{Fault, unix_ms};

/// What names one call that is to be carried out once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyName {
    /// The name of the token that calls.
    pub caller: std::sync::Arc<str>,
    /// The method.
    pub method: std::sync::Arc<str>,
    /// The key that the caller chose.
    pub key: std::sync::Arc<str>,
}

/// What is known of a key when a call with it comes.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: the call may be carried out, and its start is on disk.
    Fresh,
    /// Its outcome, as it was kept.
    Ended(Vec<u8>),
    /// It belongs to a call with other params.
    Other,
    /// Its call was begun before this process, and nobody knows how it ended.
    Unknown,
}

impl Store {
    /// Notes the start of a call, unless the key is known since less than `window`. `params` is
    /// what tells its params from others.
    pub async fn begin_key(
        &self,
        name: &KeyName,
        params: [u8; 32],
        window: Duration,
    ) -> Result<Begun, Fault> {
        let name = name.clone();
        self.write(move |db| {
            let KeyName {
                caller,
                method,
                key,
            } = &name;
            let now = unix_ms() as i64;
            let oldest = before(window);
            let mut find = db.prepare_cached(
                "SELECT params, outcome FROM idempotency
                 WHERE caller = ? AND method = ? AND key = ? AND time > ?",
            )?;
            let found = find
                .query_row(params![caller, method, key, oldest], |row| {
                    Ok((
                        row.get::<_, [u8; 32]>(0)?,
                        row.get::<_, Option<Vec<u8>>>(1)?,
                    ))
                })
                .optional()?;
            Ok(match found {
                Some((known, _)) if known != params => Begun::Other,
                Some((_, Some(outcome))) => Begun::Ended(outcome),
                Some((_, None)) => Begun::Unknown,
                None => {
                    let mut insert = db.prepare_cached(
                        "INSERT OR REPLACE INTO idempotency
                         (caller, method, key, params, outcome, time) VALUES (?, ?, ?, ?, NULL, ?)",
                    )?;
                    insert.execute(params![caller, method, key, params, now])?;
                    Begun::Fresh
                }
            })
        })
        .await
    }

    /// Keeps the outcome of a call that was begun; `None` forgets the key, so that the call may be
    /// carried out again.
    pub async fn end_key(&self, name: &KeyName, outcome: Option<Vec<u8>>) -> Result<(), Fault> {
        let name = name.clone();
        self.write(move |db| {
            let KeyName {
                caller,
                method,
                key,
            } = &name;
            match outcome {
                Some(outcome) => db
                    .prepare_cached(
                        "UPDATE idempotency SET outcome = ?
                         WHERE caller = ? AND method = ? AND key = ?",
                    )?
                    .execute(params![outcome, caller, method, key])?,
                None => db
                    .prepare_cached(
                        "DELETE FROM idempotency WHERE caller = ? AND method = ? AND key = ?",
                    )?
                    .execute(params![caller, method, key])?,
            };
            Ok(())
        })
        .await
    }

    /// Forgets what is older than `window`.
    pub async fn forget_keys(&self, window: Duration) -> Result<usize, Fault> {
        self.write(move |db| {
            db.execute("DELETE FROM idempotency WHERE time <= ?", [before(window)])
        })
        .await
    }
}

/// The moment, in Unix milliseconds, before which keys are forgotten.
fn before(window: Duration) -> i64 {
    unix_ms().saturating_sub(window.as_millis() as u64) as i64
}

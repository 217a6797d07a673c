//! When scripts are to be called.

use std::sync::Arc;

use rusqlite::params;

use super::Store;
use crate::call::Fault;

/// Triggers altogether.
const MOST: i64 = 1000;

/// A method that is to be called, once or again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Names it.
    pub handle: String,
    /// What is called.
    pub method: Arc<str>,
    /// The name of the token that calls.
    pub caller: Arc<str>,
    /// A date or a cron expression, as it was written.
    pub when: String,
    /// The next time, in Unix milliseconds.
    pub due: u64,
}

impl Store {
    /// Keeps a trigger. Says whether there was room.
    pub async fn add_trigger(&self, trigger: Trigger) -> Result<bool, Fault> {
        self.write(move |db| {
            let count: i64 = db.query_row("SELECT count(*) FROM schedule", [], |row| row.get(0))?;
            if count >= MOST {
                return Ok(false);
            }
            let Trigger {
                handle,
                method,
                caller,
                when,
                due,
            } = trigger;
            db.execute(
                "INSERT INTO schedule (handle, method, caller, timing, due) VALUES (?, ?, ?, ?, ?)",
                params![handle, method, caller, when, due as i64],
            )?;
            Ok(true)
        })
        .await
    }

    /// Sets when a trigger is due next; `None` forgets it. Says whether there is one.
    pub async fn move_trigger(&self, handle: String, due: Option<u64>) -> Result<bool, Fault> {
        self.write(move |db| {
            let changed = match due {
                Some(due) => db.execute(
                    "UPDATE schedule SET due = ? WHERE handle = ?",
                    params![due as i64, handle],
                ),
                None => db.execute("DELETE FROM schedule WHERE handle = ?", [handle]),
            };
            Ok(changed? > 0)
        })
        .await
    }

    /// The triggers that are due first, in their order.
    pub async fn next_triggers(&self, most: usize) -> Result<Vec<Trigger>, Fault> {
        self.read(move |db| {
            db.prepare_cached(
                "SELECT handle, method, caller, timing, due FROM schedule ORDER BY due LIMIT ?",
            )?
            .query_map([most as i64], |row| {
                Ok(Trigger {
                    handle: row.get(0)?,
                    method: row.get(1)?,
                    caller: row.get(2)?,
                    when: row.get(3)?,
                    due: row.get::<_, i64>(4)? as u64,
                })
            })?
            .collect()
        })
        .await
    }
}

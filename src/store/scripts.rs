//! What scripts keep: their storage, and the channels that they subscribed.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, params};

use super::Store;
use crate::call::Fault;

/// Entries of one scope, and bytes of their values.
const MOST_ENTRIES: i64 = 1000;
const MOST_BYTES: i64 = 4 * 1024 * 1024;

/// A script that subscribed to a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The channel.
    pub channel: Arc<str>,
    /// The method that is called with each event.
    pub method: Arc<str>,
    /// The name of the token that calls it.
    pub caller: Arc<str>,
}

impl Store {
    /// A value of a scope, JSON text.
    pub async fn stored(&self, scope: String, name: String) -> Result<Option<String>, Fault> {
        self.read(move |db| {
            db.prepare_cached("SELECT value FROM storage WHERE scope = ? AND name = ?")?
                .query_row([scope, name], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// The names of a scope's values.
    pub async fn stored_names(&self, scope: String) -> Result<Vec<String>, Fault> {
        self.read(move |db| {
            db.prepare_cached("SELECT name FROM storage WHERE scope = ?")?
                .query_map([scope], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// Keeps a value, or forgets it. Says whether there was room.
    pub async fn put_stored(
        &self,
        scope: String,
        name: String,
        value: Option<String>,
    ) -> Result<bool, Fault> {
        self.write(move |db| {
            let Some(value) = value else {
                db.prepare_cached("DELETE FROM storage WHERE scope = ? AND name = ?")?
                    .execute([&scope, &name])?;
                return Ok(true);
            };
            let (entries, bytes): (i64, i64) = db
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(length(value)), 0) FROM storage
                     WHERE scope = ? AND name <> ?",
                )?
                .query_row([&scope, &name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if entries >= MOST_ENTRIES || bytes + value.len() as i64 > MOST_BYTES {
                return Ok(false);
            }
            db.prepare_cached(
                "INSERT OR REPLACE INTO storage (scope, name, value) VALUES (?, ?, ?)",
            )?
            .execute([scope, name, value])?;
            Ok(true)
        })
        .await
    }

    /// The scripts that subscribed to channels.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, Fault> {
        self.read(|db| {
            db.prepare_cached("SELECT channel, method, caller FROM subscription ORDER BY rowid")?
                .query_map([], |row| {
                    Ok(Subscription {
                        channel: row.get(0)?,
                        method: row.get(1)?,
                        caller: row.get(2)?,
                    })
                })?
                .collect()
        })
        .await
    }

    /// Keeps a subscription; `then` learns of it in the order of all changes.
    pub async fn add_subscription(
        &self,
        subscription: Subscription,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<(), Fault> {
        let change = move |db: &rusqlite::Connection| {
            let Subscription {
                channel,
                method,
                caller,
            } = &subscription;
            db.prepare_cached(
                "INSERT OR REPLACE INTO subscription (channel, method, caller) VALUES (?, ?, ?)",
            )?
            .execute(params![channel, method, caller])
            .map(drop)
        };
        self.write_then(change, |()| then()).await
    }

    /// Forgets a subscription.
    pub async fn remove_subscription(
        &self,
        channel: Arc<str>,
        method: Arc<str>,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<(), Fault> {
        let change = move |db: &rusqlite::Connection| {
            db.prepare_cached("DELETE FROM subscription WHERE channel = ? AND method = ?")?
                .execute(params![channel, method])
                .map(drop)
        };
        self.write_then(change, |()| then()).await
    }
}

//! What scripts keep: their storage, and the channels that they subscribed.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, params};

use super::Store;
use crate::call::Fault;

/// Entries of one scope, and bytes of their values.
const MOST_ENTRIES: i64 = 1000;
const MOST_BYTES: i64 = 4 * 1024 * 1024;
/// Subscriptions altogether, and of one channel.
const MOST_SUBSCRIPTIONS: i64 = 1000;
const MOST_OF_CHANNEL: i64 = 20;

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
                    "SELECT count(*), coalesce(sum(octet_length(value)), 0) FROM storage
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

    /// Keeps a subscription, if there is room; says whether there was. `then` learns of it in the
    /// order of all changes.
    pub async fn add_subscription(
        &self,
        subscription: Subscription,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<bool, Fault> {
        let change = move |db: &rusqlite::Connection| {
            let Subscription {
                channel,
                method,
                caller,
            } = &subscription;
            let (all, of_channel): (i64, i64) = db
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(channel = ?1), 0) FROM subscription
                     WHERE channel <> ?1 OR method <> ?2",
                )?
                .query_row([channel, method], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if all >= MOST_SUBSCRIPTIONS || of_channel >= MOST_OF_CHANNEL {
                return Ok(false);
            }
            db.prepare_cached(
                "INSERT OR REPLACE INTO subscription (channel, method, caller) VALUES (?, ?, ?)",
            )?
            .execute(params![channel, method, caller])?;
            Ok(true)
        };
        let then = |kept: &bool| {
            if *kept {
                then();
            }
        };
        self.write_then(change, then).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;

    fn open(directory: &tempfile::TempDir) -> Store {
        let path = directory.path().join("callway.db");
        Store::open(&path, &Arc::new(Metrics::new())).unwrap()
    }

    #[tokio::test]
    async fn storage_is_bounded_in_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        let put = async |name: &str, value: &str| {
            let value = Some(value.to_owned());
            store.put_stored("/a.js".into(), name.into(), value).await
        };
        // Four bytes each.
        let large = "\u{1F600}".repeat(MOST_BYTES as usize / 8);
        for (name, room) in [("a", true), ("b", true), ("c", false), ("b", true)] {
            assert_eq!(put(name, &large).await.unwrap(), room, "{name}");
        }
    }

    #[tokio::test]
    async fn who_has_subscribed_may_do_so_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        let add = async |number: i64, caller: &str| {
            let subscription = Subscription {
                channel: "c".into(),
                method: number.to_string().into(),
                caller: caller.into(),
            };
            store.add_subscription(subscription, || ()).await.unwrap()
        };
        for number in 0..MOST_OF_CHANNEL {
            assert!(add(number, "a").await);
        }
        assert!(!add(MOST_OF_CHANNEL, "a").await, "there is no room");
        assert!(add(0, "b").await, "it has its room");
        let kept = store.subscriptions().await.unwrap();
        assert_eq!(kept.len() as i64, MOST_OF_CHANNEL);
        assert_eq!(kept.iter().filter(|one| &*one.caller == "b").count(), 1);
    }
}

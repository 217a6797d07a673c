//! What services keep: settings, data of users, balances. Bounded for each scope.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Store;
use crate::call::{Fault, Kind};

/// What one scope may keep together.
const MAX_BYTES: i64 = 16 * 1024 * 1024;
const MAX_COUNT: i64 = 100_000;

/// What became of an attempt to keep something.
enum Kept {
    Yes,
    NoRoom,
}

impl Store {
    /// What a scope keeps under a name.
    pub async fn service_data(&self, scope: String, name: String) -> Result<Option<String>, Fault> {
        self.read(move |db| find(db, &scope, &name)).await
    }

    /// Keeps a text under a name; returns when it is on disk.
    ///
    /// Returns `too_large` if the scope has no room for it.
    pub async fn keep_service_data(
        &self,
        scope: String,
        name: String,
        value: String,
    ) -> Result<(), Fault> {
        let kept = self.write(move |db| put(db, &scope, &name, &value)).await?;
        room(&kept)
    }

    /// Changes a balance in one step: `change` says what becomes of it, or that it stays. Returns
    /// whether it was changed, and what it is now.
    pub async fn change_balance(
        &self,
        scope: String,
        user: String,
        change: impl FnOnce(f64) -> Option<f64> + Send + 'static,
    ) -> Result<(bool, f64), Fault> {
        let changed = self.write(move |db| {
            let name = format!("currency/{user}");
            let balance = find(db, &scope, &name)?
                .and_then(|text| text.parse().ok())
                .unwrap_or(0.0);
            Ok(match change(balance) {
                None => (Kept::Yes, false, balance),
                Some(next) => (put(db, &scope, &name, &next.to_string())?, true, next),
            })
        });
        let (kept, changed, balance) = changed.await?;
        room(&kept)?;
        Ok((changed, balance))
    }
}

fn room(kept: &Kept) -> Result<(), Fault> {
    match kept {
        Kept::Yes => Ok(()),
        Kept::NoRoom => Err(Fault::new(
            Kind::TooLarge,
            format!("services may keep {MAX_BYTES} bytes under {MAX_COUNT} names, and no more"),
        )),
    }
}

fn find(db: &Connection, scope: &str, name: &str) -> rusqlite::Result<Option<String>> {
    let mut look = db.prepare_cached("SELECT value FROM service WHERE scope = ? AND name = ?")?;
    look.query_row([scope, name], |row| row.get(0)).optional()
}

fn put(db: &Connection, scope: &str, name: &str, value: &str) -> rusqlite::Result<Kept> {
    let mut look = db.prepare_cached("SELECT count, bytes FROM service_size WHERE scope = ?")?;
    let size = look.query_row([scope], |row| Ok((row.get(0)?, row.get(1)?)));
    let (count, bytes): (i64, i64) = size.optional()?.unwrap_or_default();
    let before = find(db, scope, name)?;
    let takes = |value: &str| (name.len() + value.len()) as i64;
    let count = count + i64::from(before.is_none());
    let bytes = bytes + takes(value) - before.as_deref().map_or(0, takes);
    if count > MAX_COUNT || bytes > MAX_BYTES {
        return Ok(Kept::NoRoom);
    }
    db.prepare_cached("INSERT OR REPLACE INTO service (scope, name, value) VALUES (?, ?, ?)")?
        .execute([scope, name, value])?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO service_size (scope, count, bytes) VALUES (?, ?, ?)",
    )?
    .execute(params![scope, count, bytes])?;
    Ok(Kept::Yes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::Metrics;

    fn store(directory: &tempfile::TempDir) -> Store {
        let path = directory.path().join("callway.db");
        Store::open(&path, &Arc::new(Metrics::new())).unwrap()
    }

    #[tokio::test]
    async fn a_scope_is_bounded_and_what_is_replaced_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        let keep = |name: &str, length: usize| {
            store.keep_service_data("a".into(), name.into(), "x".repeat(length))
        };
        let half = MAX_BYTES as usize / 2;
        keep("one", half).await.unwrap();
        let full = keep("two", half).await.unwrap_err();
        assert_eq!(full.kind, Kind::TooLarge);
        keep("one", 10).await.unwrap();
        keep("two", half).await.unwrap();
        let other = store.keep_service_data("b".into(), "one".into(), "y".into());
        other.await.unwrap();
        let kept = store.service_data("b".into(), "one".into()).await.unwrap();
        assert_eq!(kept.as_deref(), Some("y"));
    }

    #[tokio::test]
    async fn a_balance_is_changed_in_one_step_and_survives() {
        let directory = tempfile::tempdir().unwrap();
        let first = store(&directory);
        let add = |by: f64| {
            let change = move |balance: f64| (balance + by >= 0.0).then_some(balance + by);
            first.change_balance("a".into(), "7".into(), change)
        };
        let (one, two) = tokio::join!(add(5.0), add(2.5));
        assert!(one.unwrap().0 && two.unwrap().0);
        assert_eq!(add(-8.0).await.unwrap(), (false, 7.5));
        drop(first);
        let store = store(&directory);
        let again = store.change_balance("a".into(), "7".into(), |_| None);
        assert_eq!(again.await.unwrap(), (false, 7.5));
    }
}

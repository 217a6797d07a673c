//! Small things by name.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, StoreError};
use crate::call::{Fault, random_bits};

impl Store {
    /// What is remembered under a name.
    pub async fn recall(&self, name: String) -> Result<Option<Vec<u8>>, Fault> {
        self.read(move |db| {
            let mut look = db.prepare_cached("SELECT value FROM memo WHERE name = ?")?;
            look.query_row([name], |row| row.get(0)).optional()
        })
        .await
    }

    /// Remembers something under a name, in place of what was there; returns when it is on disk.
    pub async fn remember(&self, name: String, value: Vec<u8>) -> Result<(), Fault> {
        self.write(move |db| {
            let put = "INSERT INTO memo (name, value) VALUES (?1, ?2) \
                       ON CONFLICT (name) DO UPDATE SET value = ?2";
            db.prepare_cached(put)?.execute((name, value)).map(drop)
        })
        .await
    }

    /// The secret of this name: random, made when it is asked for the first time, and the same
    /// from then on. Waits for the disk.
    pub fn secret(&self, name: &'static str) -> Result<[u8; 32], StoreError> {
        self.at_start(move |db| {
            let name = format!("secret {name}");
            if let Some(known) = memo(db, &name)? {
                return Ok(known);
            }
            let mut fresh = [0; 32];
            for half in fresh.chunks_exact_mut(16) {
                let bits = random_bits().ok_or(rusqlite::Error::InvalidQuery)?;
                half.copy_from_slice(&bits.to_ne_bytes());
            }
            remember(db, &name, fresh)?;
            Ok(fresh)
        })
    }
}

pub(super) fn memo<T: rusqlite::types::FromSql>(
    db: &Connection,
    name: &str,
) -> rusqlite::Result<Option<T>> {
    db.prepare_cached("SELECT value FROM memo WHERE name = ?")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(super) fn remember(
    db: &Connection,
    name: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO memo (name, value) VALUES (?, ?)")?
        .execute(params![name, value])
        .map(drop)
}

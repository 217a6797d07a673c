//! Small things by name.

use rusqlite::OptionalExtension as _;

use super::Store;
use crate::call::Fault;

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
}

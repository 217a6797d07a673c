//! The tokens that `callway token create` makes. The token itself is kept nowhere, only its hash.

use rusqlite::{Connection, Row, params};

use super::{Store, lasts};
use crate::auth::{Digest, GrantTexts, Made, Token};
use crate::call::{Fault, unix_ms};

/// One that has expired gives its name away.
const INSERT: &str = "
    INSERT INTO token (name, sha256, grants, admin, created, expires)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, grants = excluded.grants,
        admin = excluded.admin, created = excluded.created, expires = excluded.expires
    WHERE token.expires <= ?5";

impl Store {
    /// Keeps a token, unless one of this name is there; `then` hears of it once it is kept. Says
    /// whether it was.
    pub async fn add_token(
        &self,
        made: &Made,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<bool, Fault> {
        let made = made.clone();
        let insert = move |db: &Connection| insert(db, &made);
        self.write_then(insert, |added| added.then(then).unwrap_or_default())
            .await
    }

    /// Removes the token of this name, and with it what it left as the last event of channels;
    /// `then` hears of it once it is gone. Says whether there was one.
    pub async fn remove_token(
        &self,
        name: &str,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<bool, Fault> {
        let name = name.to_owned();
        let remove = move |db: &Connection| {
            let removed = db.execute("DELETE FROM token WHERE name = ?", [&name])?;
            lasts::forget_of(db, &name)?;
            Ok(removed > 0)
        };
        self.write_then(remove, |removed| removed.then(then).unwrap_or_default())
            .await
    }

    /// Every token. One that cannot be read proves nobody; the log says so.
    pub async fn tokens(&self) -> Result<Vec<Made>, Fault> {
        let rows = self.read(|db| {
            let mut rows = db.prepare_cached(
                "SELECT name, sha256, grants, admin, created, expires FROM token ORDER BY name",
            )?;
            rows.query_map([], read)?.collect::<Result<Vec<_>, _>>()
        });
        Ok(rows.await?.into_iter().flatten().collect())
    }
}

fn insert(db: &Connection, made: &Made) -> rusqlite::Result<bool> {
    let forgotten = Made::forgotten_before(unix_ms());
    db.prepare_cached("DELETE FROM token WHERE expires <= ?")?
        .execute([forgotten as i64])?;
    let Token {
        name,
        digest,
        grants,
        admin,
    } = &made.token;
    let grants = serde_json::json!(GrantTexts::from(grants)).to_string();
    let inserted = db.prepare_cached(INSERT)?.execute(params![
        &**name,
        digest.to_string(),
        grants,
        admin,
        made.created as i64,
        made.expires.map(|expires| expires as i64),
    ])?;
    if inserted > 0 {
        // What one of this name had left, before it expired.
        lasts::forget_of(db, name)?;
    }
    Ok(inserted > 0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<Made>> {
    let (name, sha256, grants): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let read: Option<GrantTexts> = serde_json::from_str(&grants).ok();
    let grants = read.and_then(|texts| texts.read(&name).ok());
    let (Some(digest), Some(grants)) = (Digest::from_hex(&sha256), grants) else {
        tracing::error!(token = name, "a token that was kept cannot be read");
        return Ok(None);
    };
    Ok(Some(Made {
        token: Token {
            name: name.into(),
            digest,
            grants,
            admin: row.get(3)?,
        },
        created: row.get::<_, i64>(4)?.unsigned_abs(),
        expires: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::auth::digest;
    use crate::observe::Metrics;

    fn open(directory: &tempfile::TempDir) -> Store {
        let path = directory.path().join("callway.db");
        Store::open(&path, &Arc::new(Metrics::new())).unwrap()
    }

    fn made(name: &str, secret: &str, created: u64, expires: Option<u64>) -> Made {
        let texts = GrantTexts {
            call: vec!["log/{caller}".into(), "a/{x...}".into()],
            ..GrantTexts::default()
        };
        Made {
            token: Token {
                name: name.into(),
                digest: digest(secret),
                grants: texts.read(name).unwrap(),
                admin: true,
            },
            created,
            expires,
        }
    }

    #[tokio::test]
    async fn a_name_that_is_taken_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        let now = unix_ms();
        let told = Arc::new(AtomicUsize::new(0));
        let tell = || {
            let told = told.clone();
            move || {
                told.fetch_add(1, Ordering::Relaxed);
            }
        };
        let first = made("pump", "1", now, Some(now + 1000));
        assert!(store.add_token(&first, tell()).await.unwrap());
        let second = made("pump", "2", now, None);
        assert!(!store.add_token(&second, tell()).await.unwrap());
        assert_eq!(told.load(Ordering::Relaxed), 1);
        let later = made("pump", "3", now + 1000, None);
        assert!(
            store.add_token(&later, tell()).await.unwrap(),
            "the first one has expired by then"
        );
        let kept = store.tokens().await.unwrap();
        assert_eq!(kept.len(), 1);
        assert!(kept[0].token.digest == digest("3") && kept[0].expires.is_none());
    }

    #[tokio::test]
    async fn what_was_kept_is_there_after_a_restart_and_what_was_revoked_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        let now = unix_ms();
        for name in ["pump", "valve"] {
            let made = made(name, name, now, Some(now + 5));
            assert!(store.add_token(&made, || {}).await.unwrap());
        }
        assert!(store.remove_token("valve", || {}).await.unwrap());
        assert!(!store.remove_token("valve", || {}).await.unwrap());
        drop(store);
        let kept = open(&directory).tokens().await.unwrap();
        let [pump] = &kept[..] else {
            panic!("{kept:?}")
        };
        assert_eq!(&*pump.token.name, "pump");
        assert!(pump.token.admin);
        let grants = GrantTexts::from(&pump.token.grants);
        assert_eq!(grants.call, ["log/pump", "a/{x...}"]);
        assert_eq!((pump.created, pump.expires), (now, Some(now + 5)));
    }
}

//! The threads of Flow clients: whose each one is, the hash of its secret, and when its user last
//! looked.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, unix_ms};
use crate::auth::Digest;
use crate::call::Fault;

/// Threads that are remembered. With more, those go in which nothing was ever said; else a new one
/// is refused: to forget an old one would give its history away to whoever names it.
const MOST: i64 = 100_000;
/// Threads that are forgotten at once.
const FORGOTTEN: i64 = 100;

/// Somebody wants to be let into a thread.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The channel that it is, by which it is known.
    pub channel: String,
    /// As its client names it.
    pub thread: String,
    /// Whose it is if it is new; empty for nobody's.
    pub client: String,
    /// Whether it has to be this client's.
    pub own: bool,
    /// What a secret has to do with it.
    pub nonce: Nonce,
    /// Threads that were not used since then may be forgotten, in Unix milliseconds, if nothing is
    /// left of what was said in them.
    pub forget_before: u64,
}

/// The part of a secret in a claim.
#[derive(Clone, Debug)]
pub enum Nonce {
    /// None.
    Unasked,
    /// The thread's secret is needed where it has one. One that has none gets `fresh`.
    Needed {
        /// What was shown.
        shown: Option<Digest>,
        /// What the thread may get.
        fresh: Digest,
    },
}

/// What a claim came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Let in.
    Known,
    /// Let in, and the thread has its secret from now on.
    Secured,
    /// It needs its secret.
    WrongSecret,
    /// It is another client's.
    Foreign,
    /// It is new, and there are as many as there may be.
    Full,
}

/// A thread that is known.
#[derive(Clone, Debug)]
pub struct Known {
    /// Whose it is.
    pub client: String,
    /// The hash of its secret.
    pub secret: Option<Digest>,
    /// When its user last looked, in Unix milliseconds.
    pub noticed: u64,
}

impl Store {
    /// Lets somebody into a thread, or not.
    pub async fn admit(&self, claim: Claim) -> Result<Admission, Fault> {
        self.write(move |db| admit(db, &claim)).await
    }

    /// What is known of a thread.
    pub async fn thread(&self, channel: String) -> Result<Option<Known>, Fault> {
        self.read(move |db| known(db, &channel)).await
    }

    /// Remembers that a user has looked.
    pub async fn notice(&self, channel: String) -> Result<(), Fault> {
        let now = unix_ms() as i64;
        self.write(move |db| {
            db.prepare_cached("UPDATE thread SET noticed = ?, used = ? WHERE channel = ?")?
                .execute(params![now, now, channel])
                .map(drop)
        })
        .await
    }

    /// Some of the threads that `wanted` names by their channels, those that were used last first,
    /// and how many there are.
    pub async fn threads(
        &self,
        wanted: impl Fn(&str) -> bool + Send + 'static,
        skip: usize,
        count: usize,
    ) -> Result<(Vec<String>, usize), Fault> {
        self.read(move |db| {
            let mut all =
                db.prepare_cached("SELECT channel, thread FROM thread ORDER BY used DESC")?;
            let (mut some, mut seen) = (Vec::new(), 0);
            let mut rows = all.query([])?;
            while let Some(row) = rows.next()? {
                if !wanted(row.get_ref(0)?.as_str()?) {
                    continue;
                }
                if (skip..skip + count).contains(&seen) {
                    some.push(row.get(1)?);
                }
                seen += 1;
            }
            Ok((some, seen))
        })
        .await
    }
}

fn admit(db: &Connection, claim: &Claim) -> rusqlite::Result<Admission> {
    let known = known(db, &claim.channel)?;
    if known
        .as_ref()
        .is_some_and(|known| claim.own && known.client != claim.client)
    {
        return Ok(Admission::Foreign);
    }
    let secret = known.as_ref().and_then(|known| known.secret);
    let secured = match (&claim.nonce, &secret) {
        (Nonce::Unasked, _) => None,
        (Nonce::Needed { shown, .. }, Some(secret)) if shown.as_ref() != Some(secret) => {
            return Ok(Admission::WrongSecret);
        }
        (Nonce::Needed { .. }, Some(_)) => None,
        (Nonce::Needed { fresh, .. }, None) => Some(*fresh),
    };
    if known.is_none() && !has_room(db, claim.forget_before)? {
        return Ok(Admission::Full);
    }
    let now = unix_ms() as i64;
    db.prepare_cached(
        "INSERT INTO thread (channel, thread, client, secret, noticed, used)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5)
         ON CONFLICT (channel) DO UPDATE SET
            used = excluded.used, secret = coalesce(thread.secret, excluded.secret)",
    )?
    .execute(params![
        claim.channel,
        claim.thread,
        claim.client,
        secured.map(|digest| digest.to_string()),
        now,
    ])?;
    Ok(match secured {
        Some(_) => Admission::Secured,
        None => Admission::Known,
    })
}

fn has_room(db: &Connection, forget_before: u64) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "DELETE FROM thread WHERE channel IN
            (SELECT thread.channel FROM thread LEFT JOIN channel ON channel.name = thread.channel
             WHERE used < ? AND channel.name IS NULL ORDER BY used LIMIT ?)",
    )?
    .execute(params![forget_before as i64, FORGOTTEN])?;
    if count(db)? < MOST {
        return Ok(true);
    }
    db.prepare_cached(
        "DELETE FROM thread WHERE channel IN
            (SELECT thread.channel FROM thread LEFT JOIN channel ON channel.name = thread.channel
             WHERE channel.name IS NULL ORDER BY used LIMIT ?)",
    )?
    .execute([FORGOTTEN])?;
    Ok(count(db)? < MOST)
}

fn count(db: &Connection) -> rusqlite::Result<i64> {
    db.prepare_cached("SELECT count(*) FROM thread")?
        .query_row([], |row| row.get(0))
}

fn known(db: &Connection, channel: &str) -> rusqlite::Result<Option<Known>> {
    db.prepare_cached("SELECT client, secret, noticed FROM thread WHERE channel = ?")?
        .query_row([channel], read)
        .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Known> {
    let secret: Option<String> = row.get(1)?;
    Ok(Known {
        client: row.get(0)?,
        secret: secret.as_deref().and_then(Digest::from_hex),
        noticed: row.get::<_, i64>(2)?.unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::digest;
    use crate::observe::Metrics;

    fn claim(channel: &str, client: &str, shown: Option<&str>) -> Claim {
        Claim {
            channel: channel.into(),
            thread: channel.to_uppercase(),
            client: client.into(),
            own: true,
            nonce: Nonce::Needed {
                shown: shown.map(digest),
                fresh: digest(&format!("fresh of {channel}")),
            },
            forget_before: 0,
        }
    }

    #[tokio::test]
    async fn a_thread_is_its_first_clients_and_needs_its_secret() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Store::open(&directory.path().join("db"), &Arc::new(Metrics::new())).unwrap();
        let store = open();
        let admit = async |claim| store.admit(claim).await.unwrap();
        assert_eq!(admit(claim("a", "one", None)).await, Admission::Secured);
        assert_eq!(
            admit(claim("a", "two", Some("fresh of a"))).await,
            Admission::Foreign
        );
        assert_eq!(admit(claim("a", "one", None)).await, Admission::WrongSecret);
        let wrong = Some("fresh of b");
        assert_eq!(
            admit(claim("a", "one", wrong)).await,
            Admission::WrongSecret
        );
        let right = Some("fresh of a");
        assert_eq!(admit(claim("a", "one", right)).await, Admission::Known);
        let by_key = Claim {
            own: false,
            nonce: Nonce::Unasked,
            ..claim("a", "", None)
        };
        assert_eq!(admit(by_key).await, Admission::Known);
        drop(store);
        // Only the hash is there, and it outlives the process.
        let store = open();
        let known = store.thread("a".into()).await.unwrap().unwrap();
        assert_eq!(
            (known.client.as_str(), known.secret),
            ("one", Some(digest("fresh of a")))
        );
        assert_eq!(
            store
                .thread("b".into())
                .await
                .unwrap()
                .map(|known| known.client),
            None
        );
    }

    #[tokio::test]
    async fn who_only_names_threads_keeps_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let store = Store::open(&directory.path().join("db"), &metrics).unwrap();
        let fill = |said: bool| {
            store.write(move |db| {
                let fill = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?)
                            INSERT OR IGNORE INTO thread SELECT 'n' || x, 'n', 'one', NULL, 0, 9 FROM n";
                db.execute(fill, [MOST])?;
                let say = "INSERT INTO channel SELECT channel, 1, 1, 1, 1 FROM thread WHERE ?";
                db.execute(say, [said]).map(drop)
            })
        };
        fill(false).await.unwrap();
        let admit = async |channel| store.admit(claim(channel, "one", None)).await.unwrap();
        assert_eq!(admit("new").await, Admission::Secured);
        fill(true).await.unwrap();
        assert_eq!(admit("newer").await, Admission::Full);
        assert_eq!(
            admit("new").await,
            Admission::WrongSecret,
            "it is still there"
        );
    }

    #[tokio::test]
    async fn threads_are_listed_page_by_page_and_forgotten_in_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let store = Store::open(&directory.path().join("db"), &metrics).unwrap();
        for channel in ["a/1", "b/1", "a/2", "a/3"] {
            store.admit(claim(channel, "one", None)).await.unwrap();
        }
        let of_a = |channel: &str| channel.starts_with("a/");
        let (page, count) = store.threads(of_a, 1, 1).await.unwrap();
        assert_eq!((page.len(), count), (1, 3));
        let (page, _) = store.threads(of_a, 3, 2).await.unwrap();
        assert!(page.is_empty());
        let later = |channel| Claim {
            forget_before: u64::MAX >> 1,
            ..claim(channel, "one", None)
        };
        // Whoever names a forgotten thread is let in, so that nothing may be left in it.
        let said = "INSERT INTO channel VALUES ('a/1', 1, 1, 1, 1)";
        let say = store.write(move |db| db.execute(said, []).map(drop));
        say.await.unwrap();
        store.admit(later("a/4")).await.unwrap();
        let (mut left, count) = store.threads(|_| true, 0, 9).await.unwrap();
        left.sort();
        assert_eq!((left, count), (vec!["A/1".into(), "A/4".into()], 2));
    }
}

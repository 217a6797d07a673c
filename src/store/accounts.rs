//! The accounts of `action` endpoints. What they log in with and their tokens are kept as hashes.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Store;
use crate::auth::{Account, Digest, Login, account_name};
use crate::call::{Fault, unix_ms};

/// What a client says about the account that it wants.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// `methods` of its endpoint.
    pub realm: Arc<str>,
    /// The hash of what it logs in with.
    pub checksum: Digest,
    /// The token that it begins with.
    pub login: Login,
    /// A segment, part of its caller's name.
    pub segment: String,
    /// The name as the client wrote it.
    pub name: String,
    /// What it is to be like.
    pub prompt: String,
}

/// What became of a wish for an account.
#[derive(Clone, Debug)]
pub enum Registered {
    /// It was made.
    Made(Account),
    /// There is one with this checksum.
    Taken,
    /// There are as many as there may be.
    Full,
}

impl Store {
    /// Keeps a new account; `then` hears of it once it is kept. At most `most` are kept.
    pub async fn add_account(
        &self,
        wanted: NewAccount,
        most: usize,
        then: impl FnOnce(&Account) + Send + 'static,
    ) -> Result<Registered, Fault> {
        let add = move |db: &Connection| add(db, wanted, most);
        self.write_then(add, |registered| {
            if let Registered::Made(account) = registered {
                then(account);
            }
        })
        .await
    }

    /// Gives an account another token, or none; `then` hears of it once it is kept. Says whether
    /// there is such an account.
    pub async fn log_in(
        &self,
        caller: &str,
        login: Option<Login>,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<bool, Fault> {
        let caller = caller.to_owned();
        let change = move |db: &Connection| {
            let mut update = db.prepare_cached(
                "UPDATE account SET token = ?, issued = ?, used = ? WHERE caller = ?",
            )?;
            let (token, issued, used) = columns(login);
            Ok(update.execute(params![token, issued, used, caller])? > 0)
        };
        self.write_then(change, |known| known.then(then).unwrap_or_default())
            .await
    }

    /// Takes the token from the account that has it; `then` hears of it once that is kept.
    pub async fn log_out(
        &self,
        token: Digest,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<bool, Fault> {
        let change = move |db: &Connection| {
            let mut update =
                db.prepare_cached("UPDATE account SET token = NULL WHERE token = ?")?;
            Ok(update.execute([token.to_string()])? > 0)
        };
        self.write_then(change, |known| known.then(then).unwrap_or_default())
            .await
    }

    /// Notes that a token was used. Nobody waits for it: what is lost makes it end a little sooner.
    pub fn token_used(&self, token: Digest, now: u64) {
        let change = move |db: &Connection| {
            let mut update = db.prepare_cached("UPDATE account SET used = ? WHERE token = ?")?;
            update.execute(params![now as i64, token.to_string()])
        };
        self.submit(change, drop).unwrap_or_default();
    }

    /// The name and the prompt of an account.
    pub async fn account_profile(&self, caller: &str) -> Result<Option<(String, String)>, Fault> {
        let caller = caller.to_owned();
        self.read(move |db| {
            let mut find =
                db.prepare_cached("SELECT name, prompt FROM account WHERE caller = ?")?;
            let profile = find.query_row([caller], |row| Ok((row.get(0)?, row.get(1)?)));
            profile.optional()
        })
        .await
    }

    /// Every account, also those that no endpoint knows any more.
    pub async fn accounts(&self) -> Result<Vec<Account>, Fault> {
        let rows = self.read(|db| {
            let mut rows = db.prepare_cached(
                "SELECT realm, checksum, caller, token, issued, used FROM account",
            )?;
            rows.query_map([], read)?.collect::<Result<Vec<_>, _>>()
        });
        Ok(rows.await?.into_iter().flatten().collect())
    }
}

fn add(db: &Connection, wanted: NewAccount, most: usize) -> rusqlite::Result<Registered> {
    let taken = db
        .prepare_cached("SELECT 1 FROM account WHERE realm = ? AND checksum = ?")?
        .exists(params![&*wanted.realm, wanted.checksum.to_string()])?;
    if taken {
        return Ok(Registered::Taken);
    }
    let count: i64 = db
        .prepare_cached("SELECT count(*) FROM account")?
        .query_row([], |row| row.get(0))?;
    if count.unsigned_abs() >= most as u64 {
        return Ok(Registered::Full);
    }
    let account = Account {
        realm: wanted.realm,
        checksum: wanted.checksum,
        caller: free_name(db, &wanted.segment, count.unsigned_abs())?.into(),
        login: Some(wanted.login),
    };
    let (token, issued, used) = columns(account.login);
    db.prepare_cached(
        "INSERT INTO account (realm, checksum, caller, name, prompt, created, token, issued, used)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        &*account.realm,
        account.checksum.to_string(),
        &*account.caller,
        wanted.name,
        wanted.prompt,
        unix_ms() as i64,
        token,
        issued,
        used,
    ])?;
    Ok(Registered::Made(account))
}

/// The caller's name; with a number, if it is somebody's already. It begins where none is likely
/// to be taken: all accounts may have one name.
fn free_name(db: &Connection, segment: &str, count: u64) -> rusqlite::Result<String> {
    let mut find = db.prepare_cached("SELECT 1 FROM account WHERE caller = ?")?;
    let mut name = account_name(segment, 1);
    let mut nth = count;
    while find.exists([&name])? {
        nth += 1;
        name = account_name(segment, nth);
    }
    Ok(name)
}

fn columns(login: Option<Login>) -> (Option<String>, i64, i64) {
    match login {
        Some(login) => {
            let token = login.token.to_string();
            (Some(token), login.issued as i64, login.used as i64)
        }
        None => (None, 0, 0),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<Account>> {
    let (checksum, caller): (String, String) = (row.get(1)?, row.get(2)?);
    let token: Option<String> = row.get(3)?;
    let Some(checksum) = Digest::from_hex(&checksum) else {
        tracing::error!(caller, "an account that was kept cannot be read");
        return Ok(None);
    };
    let login = match token.as_deref().and_then(Digest::from_hex) {
        Some(token) => Some(Login {
            token,
            issued: row.get::<_, i64>(4)?.unsigned_abs(),
            used: row.get::<_, i64>(5)?.unsigned_abs(),
        }),
        None => None,
    };
    Ok(Some(Account {
        realm: row.get::<_, String>(0)?.into(),
        checksum,
        caller: caller.into(),
        login,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::digest;
    use crate::observe::Metrics;

    fn open(directory: &tempfile::TempDir) -> Store {
        let path = directory.path().join("callway.db");
        Store::open(&path, &Arc::new(Metrics::new())).unwrap()
    }

    fn login(token: &str) -> Login {
        Login {
            token: digest(token),
            issued: 5,
            used: 5,
        }
    }

    /// Registers "tom"; the name of the caller, or what else became of it.
    async fn register(store: &Store, checksum: &str, most: usize) -> String {
        let wanted = NewAccount {
            realm: "game/{action}".into(),
            checksum: digest(checksum),
            login: login(checksum),
            segment: "tom".into(),
            name: "tom".into(),
            prompt: "the boss".into(),
        };
        let added = store.add_account(wanted, most, |_| {});
        match added.await.unwrap() {
            Registered::Made(account) => account.caller.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_checksum_is_taken_once_and_a_name_makes_another_caller() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        assert_eq!(register(&store, "a", 2).await, "action:tom");
        assert_eq!(register(&store, "a", 2).await, "Taken");
        assert_eq!(register(&store, "b", 2).await, "action:tom:2");
        assert_eq!(register(&store, "c", 2).await, "Full");
    }

    #[tokio::test]
    async fn what_was_kept_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        for checksum in ["check-one", "check-two", "check-three"] {
            register(&store, checksum, 9).await;
        }
        let again = store.log_in("action:tom", Some(login("token-again")), || {});
        assert!(again.await.unwrap());
        assert!(!store.log_in("action:ann", None, || {}).await.unwrap());
        // Nobody waits for this one; what comes after it is waited for.
        store.token_used(digest("check-three"), 9);
        assert!(store.log_out(digest("check-two"), || {}).await.unwrap());
        assert!(!store.log_out(digest("check-two"), || {}).await.unwrap());
        drop(store);
        let kept = open(&directory).accounts().await.unwrap();
        let login_of = |caller: &str| {
            let account = kept.iter().find(|account| *account.caller == *caller);
            account.unwrap().login
        };
        assert_eq!(login_of("action:tom"), Some(login("token-again")));
        assert_eq!(login_of("action:tom:2"), None);
        assert_eq!(login_of("action:tom:3").unwrap().used, 9);
        let profile = open(&directory).account_profile("action:tom:2").await;
        assert_eq!(profile.unwrap(), Some(("tom".into(), "the boss".into())));
    }
}

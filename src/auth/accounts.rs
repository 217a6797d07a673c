//! The accounts that clients of `action` endpoints make, in memory: who has which token, and what
//! each may do. What must survive is in the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::token::{Digest, Token};
use super::{Caller, Grants};
use crate::router::Pattern;

/// What the callers' names begin with. No token has such a name.
const PREFIX: &str = "action:";
/// The use of a token is written down again once this part of its idle time has passed.
const WORTH_KEEPING: u32 = 10;

/// Whether a caller's name is that of an account.
pub fn is_account(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The name of the caller that the `nth` account of this name (a segment) acts as. Nobody acts as
/// somebody else because of a name that both chose.
pub fn account_name(name: &str, nth: u64) -> String {
    match nth {
        0 | 1 => format!("{PREFIX}{name}"),
        _ => format!("{PREFIX}{name}:{nth}"),
    }
}

/// An account as it is kept.
#[derive(Clone, Debug)]
pub struct Account {
    /// `methods` of its endpoint: other endpoints do not know it.
    pub realm: Arc<str>,
    /// The hash of what it logs in with.
    pub checksum: Digest,
    /// The name of its caller.
    pub caller: Arc<str>,
    /// The token that it has, if it is logged in.
    pub login: Option<Login>,
}

/// The token of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// The hash of the token.
    pub token: Digest,
    /// When it was made, in Unix milliseconds.
    pub issued: u64,
    /// When it was used last.
    pub used: u64,
}

/// How long tokens last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// Without being used.
    pub idle: Duration,
    /// At most.
    pub whole: Duration,
}

/// Whom a token proves.
#[derive(Debug)]
pub struct Proved {
    /// The account's caller.
    pub caller: Caller,
    /// Whether this use of the token is worth writing down.
    pub keep: bool,
}

/// All accounts of the endpoints that there are.
#[derive(Default)]
pub struct Accounts(RwLock<Book>);

#[derive(Default)]
struct Book {
    realms: HashMap<Arc<str>, Pattern>,
    by_name: HashMap<Arc<str>, Entry>,
    by_checksum: HashMap<(Arc<str>, Digest), Arc<str>>,
    by_token: HashMap<Digest, Arc<str>>,
}

struct Entry {
    realm: Arc<str>,
    login: Option<Login>,
    /// The last use of the token that was written down.
    kept: u64,
    token: Arc<Token>,
}

impl Accounts {
    /// Accounts of this realm may call what the pattern takes. Others are not known.
    pub fn open(&self, realm: Arc<str>, grant: Pattern) {
        self.0.write().realms.insert(realm, grant);
    }

    /// Takes up an account.
    pub fn add(&self, account: Account) {
        let book = &mut *self.0.write();
        let Some(grant) = book.realms.get(&account.realm) else {
            return;
        };
        let token = Token {
            name: account.caller.clone(),
            digest: account.checksum,
            grants: Grants {
                call: vec![grant.clone()],
                ..Grants::default()
            },
            admin: false,
        };
        let caller = account.caller;
        let key = (account.realm.clone(), account.checksum);
        book.by_checksum.insert(key, caller.clone());
        let entry = Entry {
            realm: account.realm,
            login: None,
            kept: 0,
            token: Arc::new(token),
        };
        book.by_name.insert(caller.clone(), entry);
        book.log_in(&caller, account.login);
    }

    /// Gives an account another token, which ends the one that it had, or none.
    pub fn log_in(&self, caller: &str, login: Option<Login>) {
        self.0.write().log_in(caller, login);
    }

    /// Takes this token from an account, unless it has another one by now.
    pub fn log_out(&self, caller: &str, token: &Digest) {
        let book = &mut *self.0.write();
        let entry = book.by_name.get(caller);
        let login = entry.and_then(|entry| entry.login);
        if login.is_some_and(|login| login.token == *token) {
            book.log_in(caller, None);
        }
    }

    /// The name of the account that logs in with this.
    pub fn find(&self, realm: &Arc<str>, checksum: &Digest) -> Option<Arc<str>> {
        let book = self.0.read();
        book.by_checksum.get(&(realm.clone(), *checksum)).cloned()
    }

    /// Whom a token proves, which counts as a use of it.
    pub fn prove(
        &self,
        realm: &str,
        token: &Digest,
        lifetime: Lifetime,
        now: u64,
    ) -> Option<Proved> {
        let book = &mut *self.0.write();
        let entry = book.by_name.get_mut(book.by_token.get(token)?)?;
        let login = entry.login.as_mut()?;
        let fits = *entry.realm == *realm && login.token.is(token);
        if !fits || !login.is_alive(lifetime, now) {
            return None;
        }
        login.used = now;
        let keep = since(entry.kept, now) > lifetime.idle / WORTH_KEEPING;
        if keep {
            entry.kept = now;
        }
        Some(Proved {
            caller: Caller::new(entry.token.clone()),
            keep,
        })
    }

    /// The caller of the account of this name. Logged in or not: what it asked for while it was is
    /// carried out.
    pub(super) fn by_name(&self, name: &str) -> Option<Caller> {
        let book = self.0.read();
        Some(Caller::new(book.by_name.get(name)?.token.clone()))
    }
}

impl Book {
    fn log_in(&mut self, caller: &str, login: Option<Login>) {
        let Some((caller, _)) = self.by_name.get_key_value(caller) else {
            return;
        };
        let caller = caller.clone();
        if let Some(login) = login {
            self.by_token.insert(login.token, caller.clone());
        }
        let Some(entry) = self.by_name.get_mut(&caller) else {
            return;
        };
        entry.kept = login.map_or(0, |login| login.used);
        if let Some(before) = std::mem::replace(&mut entry.login, login)
            && login.is_none_or(|login| login.token != before.token)
        {
            self.by_token.remove(&before.token);
        }
    }
}

impl Login {
    fn is_alive(&self, lifetime: Lifetime, now: u64) -> bool {
        since(self.used, now) <= lifetime.idle && since(self.issued, now) <= lifetime.whole
    }
}

fn since(then: u64, now: u64) -> Duration {
    Duration::from_millis(now.saturating_sub(then))
}

#[cfg(test)]
mod tests;

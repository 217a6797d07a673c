//! The tokens that were made while callway ran: looked up in memory, changed all at once, ended
//! when they are revoked or their time has come.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Caller;
use super::token::{Digest, Token};
use crate::call::unix_ms;

/// How often the clock is looked at while a token waits for its end: it may have been set.
const LOOK: Duration = Duration::from_secs(1);
/// How long an expired token is remembered, so that one can see why it is refused.
const REMEMBERED: u64 = 30 * 86_400_000;

/// A token that was made while callway ran.
#[derive(Clone, Debug)]
pub struct Made {
    /// Whom it proves, and what that one may do.
    pub token: Token,
    /// When it was made, in Unix milliseconds.
    pub created: u64,
    /// When it ends by itself, in Unix milliseconds.
    pub expires: Option<u64>,
}

impl Made {
    /// Whether its time has come.
    pub fn has_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What expired before this moment is forgotten.
    pub fn forgotten_before(now: u64) -> u64 {
        now.saturating_sub(REMEMBERED)
    }
}

/// All of them.
#[derive(Default)]
pub struct Keyring {
    keys: ArcSwap<Keys>,
    changed: Notify,
}

#[derive(Clone, Default)]
struct Keys {
    by_digest: HashMap<Digest, Arc<Key>>,
    by_name: BTreeMap<Arc<str>, Arc<Key>>,
}

struct Key {
    made: Made,
    token: Arc<Token>,
    life: CancellationToken,
}

impl Keyring {
    /// Adds tokens; each takes the place of one of its name.
    pub fn add(&self, tokens: impl IntoIterator<Item = Made>) {
        let tokens = tokens.into_iter().map(Key::new).map(Arc::new);
        let tokens: Vec<_> = tokens.collect();
        let forgotten = Made::forgotten_before(unix_ms());
        self.keys.rcu(|keys| {
            let mut keys = Keys::clone(keys);
            keys.retain(|key| !key.made.has_expired(forgotten));
            for key in &tokens {
                keys.insert(key);
            }
            keys
        });
        self.changed.notify_one();
    }

    /// Revokes the token of this name: it proves nobody any more, and what goes on in its name
    /// ends.
    pub fn revoke(&self, name: &str) {
        let before = self.keys.rcu(|keys| {
            let mut keys = Keys::clone(keys);
            keys.remove(name);
            keys
        });
        if let Some(key) = before.by_name.get(name) {
            key.life.cancel();
        }
    }

    /// All tokens, also those that have expired and are still remembered; by name.
    pub fn all(&self) -> Vec<Made> {
        let keys = self.keys.load();
        keys.by_name.values().map(|key| key.made.clone()).collect()
    }

    /// The token of this name, also if it has expired.
    pub fn get(&self, name: &str) -> Option<Made> {
        Some(self.keys.load().by_name.get(name)?.made.clone())
    }

    /// Ends each token when its time has come, by the wall clock, which may be set at any moment.
    /// Goes on for as long as it is polled.
    pub async fn watch(&self) {
        loop {
            match self.sweep(unix_ms()) {
                None => self.changed.notified().await,
                Some(next) => {
                    let changed = self.changed.notified();
                    // Either way it is time to look again.
                    tokio::time::timeout(next.min(LOOK), changed).await.ok();
                }
            }
        }
    }

    /// Ends what has expired; says how long it is until the next one does.
    fn sweep(&self, now: u64) -> Option<Duration> {
        let keys = self.keys.load();
        for key in keys.by_name.values() {
            if key.made.has_expired(now) && !key.life.is_cancelled() {
                tracing::info!(token = %key.token.name, "a token has expired, its sessions end");
                key.life.cancel();
            }
        }
        let ends = keys.by_name.values().filter_map(|key| key.made.expires);
        let next = ends.filter(|expires| *expires > now).min()?;
        Some(Duration::from_millis(next - now))
    }

    /// Whether there is a token of this digest, also if it has expired.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.keys.load().by_digest.contains_key(digest)
    }

    pub(super) fn find(&self, digest: &Digest, now: u64) -> Option<Caller> {
        let keys = self.keys.load();
        let key = keys.by_digest.get(digest)?;
        key.token.digest.is(digest).then(|| key.caller(now))?
    }

    pub(super) fn by_name(&self, name: &str, now: u64) -> Option<Caller> {
        self.keys.load().by_name.get(name)?.caller(now)
    }
}

impl Keys {
    fn insert(&mut self, key: &Arc<Key>) {
        self.remove(&key.token.name);
        self.by_digest.insert(key.token.digest, key.clone());
        self.by_name.insert(key.token.name.clone(), key.clone());
    }

    fn remove(&mut self, name: &str) {
        if let Some(key) = self.by_name.remove(name) {
            self.by_digest.remove(&key.token.digest);
        }
    }

    fn retain(&mut self, keeps: impl Fn(&Key) -> bool) {
        self.by_digest.retain(|_, key| keeps(key));
        self.by_name.retain(|_, key| keeps(key));
    }
}

impl Key {
    fn new(made: Made) -> Key {
        Key {
            token: Arc::new(made.token.clone()),
            life: CancellationToken::new(),
            made,
        }
    }

    /// Its caller, unless its life is over. The clock is asked here too: what has expired is
    /// refused from that moment on, and once ended it stays so wherever the clock is set to.
    fn caller(&self, now: u64) -> Option<Caller> {
        let over = self.life.is_cancelled() || self.made.has_expired(now);
        (!over).then(|| Caller {
            token: self.token.clone(),
            life: Some(self.life.clone()),
        })
    }
}

#[cfg(test)]
mod tests;

//! Turns credentials into callers, and slows those who guess.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::accounts::{Accounts, is_account};
use super::keyring::Keyring;
use super::throttle::{Source, Throttle};
use super::token::{Digest, Secret, Token, digest};
use super::{Caller, token_ended};
use crate::call::{Fault, Kind, unix_ms};
use crate::observe::Metrics;

/// Knows the configured token rows and those that were made while callway ran.
pub struct Authenticator {
    by_digest: HashMap<Digest, Arc<Token>>,
    by_name: HashMap<Arc<str>, Arc<Token>>,
    /// The names of the token rows that client certificates stand for.
    by_certificate: HashMap<Digest, Arc<str>>,
    made: Keyring,
    accounts: Accounts,
    throttle: Throttle,
    metrics: Arc<Metrics>,
}

impl Authenticator {
    /// Over the configured rows. `failures` bad tries per `period` and source go unslowed.
    pub fn new(
        tokens: impl IntoIterator<Item = Token>,
        failures: u32,
        period: Duration,
        metrics: Arc<Metrics>,
    ) -> Authenticator {
        let mut by_digest = HashMap::new();
        let mut by_name = HashMap::new();
        for token in tokens.into_iter().map(Arc::new) {
            by_digest.insert(token.digest, token.clone());
            by_name.insert(token.name.clone(), token);
        }
        Authenticator {
            by_digest,
            by_name,
            by_certificate: HashMap::new(),
            made: Keyring::default(),
            accounts: Accounts::default(),
            throttle: Throttle::new(failures, period),
            metrics,
        }
    }

    /// The same, with the client certificates that stand for its rows.
    pub fn with_certificates(
        self,
        certificates: impl IntoIterator<Item = (Digest, Arc<str>)>,
    ) -> Authenticator {
        Authenticator {
            by_certificate: certificates.into_iter().collect(),
            ..self
        }
    }

    /// The caller whom a client certificate with this fingerprint stands for. That an authority
    /// vouches for it, that it has not expired, and that the client has its key, is for TLS to
    /// check.
    pub fn by_certificate(&self, fingerprint: &Digest) -> Option<Caller> {
        self.by_name(self.by_certificate.get(fingerprint)?)
    }

    /// The caller that this credential proves. A refusal is slowed when its source, or tries of
    /// this very token, were refused too often; a valid token is never slowed.
    ///
    /// Returns `unauthenticated`.
    pub async fn authenticate(&self, secret: &Secret, source: &Source) -> Result<Caller, Fault> {
        let digest = digest(secret.expose());
        if let Some(caller) = self.find(&digest) {
            return Ok(caller);
        }
        self.refused(&digest, source).await;
        // Who has the token of an ended one may know that it was one.
        Err(match self.made.has(&digest) {
            true => token_ended(),
            false => Fault::new(
                Kind::Unauthenticated,
                "the token is not known; check it, or ask for a new one",
            ),
        })
    }

    /// Counts a bad try of a credential with this digest, and holds its refusal back when there
    /// were too many.
    pub async fn refused(&self, digest: &Digest, source: &Source) {
        self.metrics.auth_refused(source.via());
        if let Some(delay) = self.throttle.refused(source, digest) {
            self.metrics.limit_reached("auth_failures");
            tokio::time::sleep(delay).await;
        }
    }

    /// Whether a credential would be accepted, without counting a bad try. For places that try
    /// two spellings of one credential.
    pub fn knows(&self, secret: &Secret) -> bool {
        self.look_up(secret).is_some()
    }

    /// The caller that a credential proves, without counting a bad try. For those who are known
    /// already.
    pub fn look_up(&self, secret: &Secret) -> Option<Caller> {
        self.find(&digest(secret.expose()))
    }

    /// The caller of the token of this name (`bus.caller`, `anonymous`, a verified user), or of an
    /// account.
    pub fn by_name(&self, name: &str) -> Option<Caller> {
        if is_account(name) {
            return self.accounts.by_name(name);
        }
        match self.by_name.get(name) {
            Some(token) => Some(Caller::new(token.clone())),
            None => self.made.by_name(name, unix_ms()),
        }
    }

    /// The tokens that were made while callway ran.
    pub fn made(&self) -> &Keyring {
        &self.made
    }

    /// The accounts of `action` endpoints.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Whether the configuration has a row with this name or this digest, which no made token may
    /// have too.
    pub fn is_configured(&self, name: &str, digest: &Digest) -> bool {
        self.by_name.contains_key(name) || self.by_digest.contains_key(digest)
    }

    /// The maps are keyed by a digest that a guesser cannot steer, so the look-up tells nothing;
    /// the comparison after it is constant-time all the same.
    fn find(&self, digest: &Digest) -> Option<Caller> {
        let Some(token) = self.by_digest.get(digest) else {
            return self.made.find(digest, unix_ms());
        };
        token.digest.is(digest).then(|| Caller::new(token.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Grants;

    fn authenticator() -> Authenticator {
        let token = Token {
            name: "greenhouse".into(),
            digest: digest("right"),
            grants: Grants::default(),
            admin: false,
        };
        Authenticator::new(
            [token],
            3,
            Duration::from_secs(60),
            Arc::new(Metrics::new()),
        )
    }

    fn guess(n: usize) -> Secret {
        Secret::new(format!("guess {n}"))
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_are_slowed_and_the_right_token_is_not() {
        let auth = authenticator();
        let source = Source::bus("field");
        let start = tokio::time::Instant::now();
        for n in 0..3 {
            assert!(auth.authenticate(&guess(n), &source).await.is_err());
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(auth.authenticate(&guess(3), &source).await.is_err());
        assert!(start.elapsed() > Duration::ZERO);

        let before = tokio::time::Instant::now();
        assert_eq!(
            auth.authenticate(&Secret::new("right"), &source)
                .await
                .unwrap()
                .name(),
            "greenhouse"
        );
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert!(
            auth.authenticate(&guess(4), &Source::bus("office"))
                .await
                .is_err()
        );
        assert_eq!(
            before.elapsed(),
            Duration::ZERO,
            "another source is not slowed"
        );
    }
}

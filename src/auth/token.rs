//! Opaque tokens: random texts of which only the SHA-256 is kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::throttle::{Source, Throttle};
use super::{Caller, Grants};
use crate::call::{Fault, Kind};
use crate::observe::Metrics;

/// A credential as a client sent it. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a credential.
    pub fn new(text: impl Into<Box<str>>) -> Secret {
        Secret(text.into())
    }

    /// The text itself; for hashing, and for sending it to where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The SHA-256 of a token (FIPS 180-4), as `printf %s TOKEN | sha256sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Digest> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = (high * 16 + low) as u8;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

/// The digest of a token.
pub fn digest(token: &str) -> Digest {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_ref());
    Digest(bytes)
}

/// A new token: `cw_` and 43 characters of base64url, 256 random bits.
pub fn new_secret() -> Result<Secret, Fault> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Fault::new(Kind::Internal, "the system gives no random numbers"))?;
    Ok(Secret::new(format!("cw_{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// One `[[token]]` row.
#[derive(Clone, Debug)]
pub struct Token {
    /// Names the caller in logs, grants (`{caller}`) and to responders.
    pub name: Arc<str>,
    /// What proves the caller.
    pub digest: Digest,
    /// What the caller may do.
    pub grants: Grants,
    /// Whether it may use the administration interface.
    pub admin: bool,
}

/// Turns credentials into callers, and slows those who guess.
pub struct Authenticator {
    by_digest: HashMap<Digest, Arc<Token>>,
    by_name: HashMap<Arc<str>, Arc<Token>>,
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
            throttle: Throttle::new(failures, period),
            metrics,
        }
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
        self.metrics.auth_refused(source.via());
        if let Some(delay) = self.throttle.refused(source, &digest) {
            self.metrics.limit_reached("auth_failures");
            tokio::time::sleep(delay).await;
        }
        Err(Fault::new(
            Kind::Unauthenticated,
            "the token is not known; check it, or ask for a new one",
        ))
    }

    /// Whether a credential would be accepted, without counting a bad try. For places that try
    /// two spellings of one credential.
    pub fn knows(&self, secret: &Secret) -> bool {
        self.find(&digest(secret.expose())).is_some()
    }

    /// The caller of a token row that the configuration names (`bus.caller`, `anonymous`).
    pub fn by_name(&self, name: &str) -> Option<Caller> {
        self.by_name.get(name).cloned().map(Caller::new)
    }

    /// The map is keyed by a digest that a guesser cannot steer, so the look-up tells nothing; the
    /// comparison after it is constant-time all the same.
    fn find(&self, digest: &Digest) -> Option<Caller> {
        let token = self.by_digest.get(digest)?;
        bool::from(token.digest.0.ct_eq(&digest.0)).then(|| Caller::new(token.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_digest_is_what_sha256sum_prints() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(digest("test").to_string(), hex);
        assert_eq!(Digest::from_hex(hex), Some(digest("test")));
        assert_eq!(Digest::from_hex("9f"), None);
    }

    #[test]
    fn made_tokens_have_the_documented_form() {
        let secret = new_secret().unwrap();
        assert!(secret.expose().starts_with("cw_"));
        assert_eq!(secret.expose().len(), 3 + 43);
        assert_eq!(format!("{secret:?}"), "Secret");
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

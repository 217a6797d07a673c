//! Opaque tokens: random texts of which only the SHA-256 is kept.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::Grants;
use super::accounts::is_account;
use crate::call::{Fault, Kind, from_hex};
use crate::router::check_segment;

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
        from_hex(text).map(Digest)
    }

    /// Reads a fingerprint: 64 hexadecimal digits, or pairs of them with colons in between, as
    /// `openssl x509 -noout -fingerprint -sha256` prints them.
    pub fn from_fingerprint(text: &str) -> Option<Digest> {
        match text.contains(':') {
            false => Digest::from_hex(text),
            true => {
                let pairs: Vec<_> = text.split(':').collect();
                let whole = pairs.iter().all(|pair| pair.len() == 2);
                whole.then(|| Digest::from_hex(&pairs.concat()))?
            }
        }
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn is(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
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
    fingerprint(token.as_bytes())
}

/// The SHA-256 of a certificate, as `openssl x509 -outform DER -in FILE | sha256sum` prints it.
pub fn fingerprint(der: &[u8]) -> Digest {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
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

/// Checks what a token is to be called: a segment, and not the name of an account.
pub fn check_token_name(name: &str) -> Result<(), String> {
    check_segment(name)?;
    match is_account(name) {
        true => Err("names that begin action: belong to accounts".into()),
        false => Ok(()),
    }
}

/// One `[[token]]` row, or a token that was made while callway ran.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_sha256sum_prints() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(digest("test").to_string(), hex);
        assert_eq!(Digest::from_hex(hex), Some(digest("test")));
        assert_eq!(Digest::from_hex("9f"), None);
    }

    #[test]
    fn a_fingerprint_is_what_openssl_prints() {
        let hex = digest("test").to_string();
        let pairs: Vec<_> = (0..32).map(|at| &hex[2 * at..2 * at + 2]).collect();
        let printed = pairs.join(":").to_uppercase();
        for text in [&hex, &printed] {
            assert_eq!(
                Digest::from_fingerprint(text),
                Some(digest("test")),
                "{text}"
            );
        }
        let swapped = printed.replacen("9F:86", "9:F86", 1);
        for text in [
            "",
            ":",
            &hex[2..],
            &printed[3..],
            &swapped,
            &format!("{hex}:"),
        ] {
            assert_eq!(Digest::from_fingerprint(text), None, "{text}");
        }
    }

    #[test]
    fn made_tokens_have_the_documented_form() {
        let secret = new_secret().unwrap();
        assert!(secret.expose().starts_with("cw_"));
        assert_eq!(secret.expose().len(), 3 + 43);
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}

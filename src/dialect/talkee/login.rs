//! What a login proves itself with.

use serde::Deserialize;

use super::{Refusal, mvm};
use crate::auth::Secret;

/// What a client shows to be logged in.
#[derive(Debug)]
pub enum Proof {
    /// A token of callway, or one that an earlier login handed out.
    Token(Secret),
    /// An Ethereum address, whose owner has signed for it.
    Address([u8; 20]),
}

#[derive(Deserialize)]
struct Body {
    method: String,
    token: Option<String>,
    // The document has one name for it and the server another one.
    #[serde(alias = "mixin_access_token")]
    mixin_token: Option<String>,
    signed_message: Option<String>,
    signature: Option<String>,
}

impl Proof {
    /// Reads the body of a login that a page at `origin` sends, and verifies a signature.
    pub fn read(body: &[u8], origin: Option<&str>) -> Result<Proof, Refusal> {
        let body: Body = serde_json::from_slice(body).map_err(|_| Refusal::malformed())?;
        let token = match body.method.as_str() {
            "token" => body.token,
            "mixin_token" => body.mixin_token,
            "mvm" => {
                let (Some(message), Some(signature)) = (body.signed_message, body.signature) else {
                    return Err(Refusal::new(400, "invalid auth params"));
                };
                return mvm::signer(&message, &signature, origin).map(Proof::Address);
            }
            _ => return Err(mvm::refusal(10003, "bad login method")),
        };
        match token.filter(|token| !token.is_empty()) {
            Some(token) => Ok(Proof::Token(Secret::new(token))),
            None => Err(Refusal::new(400, "invalid auth params")),
        }
    }

    /// Why this proves nobody.
    pub fn refused(&self) -> Refusal {
        match self {
            Proof::Token(_) => {
                mvm::refusal(10006, "bad mixin token: it is no token of this server")
            }
            Proof::Address(_) => Refusal::unauthorized(),
        }
    }
}

#[cfg(test)]
mod tests {
    use siwe::eip55;

    use super::*;

    #[test]
    fn what_proves_nothing_is_refused() {
        for (body, refused) in [
            ("{", "twirp"),
            ("{}", "twirp"),
            (r#"{"method":"password"}"#, "[10003]"),
            (r#"{"method":"token"}"#, "invalid auth params"),
            (
                r#"{"method":"mixin_token","mixin_token":""}"#,
                "invalid auth params",
            ),
            (
                r#"{"method":"mvm","signed_message":"x"}"#,
                "invalid auth params",
            ),
            (
                r#"{"method":"mvm","signed_message":"x","signature":"0x"}"#,
                "[10004]",
            ),
        ] {
            let refusal = Proof::read(body.as_bytes(), Some("https://a.example")).unwrap_err();
            let refusal = serde_json::to_string(&refusal).unwrap();
            assert!(refusal.contains(refused), "{body}: {refusal}");
        }
    }

    #[test]
    fn a_token_has_three_names() {
        for body in [
            r#"{"method":"token","token":"t"}"#,
            r#"{"method":"mixin_token","mixin_token":"t","lang":"en"}"#,
            r#"{"method":"mixin_token","mixin_access_token":"t"}"#,
        ] {
            let proof = Proof::read(body.as_bytes(), None).unwrap();
            assert!(
                matches!(proof, Proof::Token(token) if token.expose() == "t"),
                "{body}"
            );
        }
    }

    #[test]
    fn addresses_are_shown_with_their_checksum() {
        let address = crate::call::from_hex("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed").unwrap();
        assert_eq!(
            eip55(&address),
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
        );
    }
}

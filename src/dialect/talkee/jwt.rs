//! The tokens that login hands out: JSON Web Tokens (RFC 7519), HS256, `{user_id, exp}`.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::auth::Secret;
use crate::call::{Fault, Kind, unix_ms};

/// Seconds for which a token is good: a year, as clients expect.
const LIFETIME: u64 = 365 * 86_400;

#[derive(Serialize, Deserialize)]
struct Claims {
    user_id: u64,
    exp: u64,
}

/// A token for a user.
pub fn issue(secret: &Secret, user_id: u64) -> Result<String, Fault> {
    let exp = unix_ms() / 1000 + LIFETIME;
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    encode(&Header::default(), &Claims { user_id, exp }, &key)
        .map_err(|_| Fault::new(Kind::Internal, "the token cannot be signed"))
}

/// The user that a token was handed out for; `None` unless it is one, and still good.
pub fn user_id(secret: &Secret, token: &Secret) -> Option<u64> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    validation.validate_nbf = true;
    let key = DecodingKey::from_secret(secret.expose().as_bytes());
    let read = decode::<Claims>(token.expose(), &key, &validation);
    read.ok().map(|token| token.claims.user_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text)
    }

    fn signed(algorithm: Algorithm, claims: &serde_json::Value) -> Secret {
        let key = EncodingKey::from_secret(b"key");
        secret(&encode(&Header::new(algorithm), claims, &key).unwrap())
    }

    #[test]
    fn only_what_was_handed_out_and_is_still_good_counts() {
        let token = secret(&issue(&secret("key"), 7).unwrap());
        assert_eq!(user_id(&secret("key"), &token), Some(7));
        assert_eq!(user_id(&secret("another key"), &token), None);
        let later = unix_ms() / 1000 + 60;
        let claims = serde_json::json!({"user_id": 7, "exp": later});
        assert_eq!(
            user_id(&secret("key"), &signed(Algorithm::HS256, &claims)),
            Some(7)
        );
        assert_eq!(
            user_id(&secret("key"), &signed(Algorithm::HS512, &claims)),
            None
        );
        for claims in [
            serde_json::json!({"user_id": 7, "exp": 1}),
            serde_json::json!({"user_id": 7}),
            serde_json::json!({"user_id": 7, "exp": later, "nbf": later - 1}),
            serde_json::json!({"user_id": "7", "exp": later}),
            serde_json::json!({"exp": later}),
        ] {
            let token = signed(Algorithm::HS256, &claims);
            assert_eq!(user_id(&secret("key"), &token), None, "{claims}");
        }
        // {"alg":"none"}
        let unsigned = "eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjo3LCJleHAiOjQxMDI0NDQ4MDB9.";
        assert_eq!(user_id(&secret("key"), &secret(unsigned)), None);
    }
}

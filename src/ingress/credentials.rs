//! Finds the credential of a WebSocket or HTTP request in all the places where it may stand.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use percent_encoding::percent_decode_str;

use crate::auth::{Authenticator, Caller, Secret, Source};
use crate::call::{Fault, Kind};
use crate::dialect::http::Query;

/// The subprotocol that carries a token, because browsers cannot set headers on a WebSocket.
const BEARER_PROTOCOL: &str = "base64url.bearer.";

/// The credentials that one request carries. They must all be the same one.
#[derive(Default)]
pub(super) struct Credentials {
    found: Option<Secret>,
    contradict: bool,
}

impl Credentials {
    /// Those in headers and query.
    pub(super) fn of(headers: &HeaderMap, query: Option<&str>) -> Credentials {
        let mut credentials = Credentials::default();
        for value in headers.get_all(AUTHORIZATION) {
            // What is not text is a credential all the same, one that proves nobody.
            if let Some(token) = bearer(&String::from_utf8_lossy(value.as_bytes())) {
                credentials.add(Secret::new(token));
            }
        }
        for protocol in subprotocols(headers) {
            if let Some(encoded) = protocol.strip_prefix(BEARER_PROTOCOL) {
                credentials.add(from_base64url(encoded));
            }
        }
        for credential in Query::credentials(query.unwrap_or_default().as_bytes()) {
            credentials.add(credential);
        }
        credentials
    }

    /// Whether there are none so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_none()
    }

    /// Adds what stands after an endpoint's path (`rest`, with its leading slash; `endpoint` is
    /// that path). If it is no token as it stands, it counts without its leading slashes, or
    /// without the first one alone: a token may begin with slashes of its own.
    pub(super) fn add_path(&mut self, endpoint: &str, rest: &str, auth: &Authenticator) {
        // The slash of the endpoint `/` belongs to the endpoint, not to what follows.
        let after = if endpoint == "/" {
            rest.strip_prefix('/').unwrap_or(rest)
        } else {
            rest
        };
        let decoded = percent_decode_str(after).decode_utf8_lossy();
        let bare = decoded.trim_start_matches('/');
        if bare.is_empty() {
            return;
        }
        let known = [Some(&*decoded), decoded.strip_prefix('/')]
            .into_iter()
            .flatten()
            .filter(|text| text.len() > bare.len())
            .map(Secret::new)
            .find(|secret| auth.knows(secret));
        self.add(known.unwrap_or_else(|| Secret::new(bare)));
    }

    /// Adds what stands in `Authorization` without a scheme, as some clients send their tokens.
    pub(super) fn add_bare(&mut self, headers: &HeaderMap) {
        for value in headers.get_all(AUTHORIZATION) {
            let text = String::from_utf8_lossy(value.as_bytes());
            let text = text.trim();
            if !text.contains(' ') {
                self.add(Secret::new(text));
            }
        }
    }

    /// Adds one from elsewhere, such as a form.
    pub(super) fn add(&mut self, secret: Secret) {
        if secret.expose().is_empty() {
            return;
        }
        match &self.found {
            None => self.found = Some(secret),
            Some(found) => self.contradict |= *found != secret,
        }
    }

    /// The one that they all are; `None` if there are none.
    ///
    /// Returns `unauthenticated` for two different ones.
    pub(super) fn one(&self) -> Result<Option<&Secret>, Fault> {
        if self.contradict {
            return Err(Fault::new(
                Kind::Unauthenticated,
                "the request carries two different tokens; send one",
            ));
        }
        Ok(self.found.as_ref())
    }

    /// The caller that they prove; `None` if there are none.
    ///
    /// Returns `unauthenticated` for a token that is not known and for two different ones.
    pub(super) async fn prove(
        &self,
        auth: &Authenticator,
        source: &Source,
    ) -> Result<Option<Caller>, Fault> {
        match self.one()? {
            Some(secret) => auth.authenticate(secret, source).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The subprotocols that a client offers (RFC 6455 §4.1), in its order.
pub(super) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// The token of `Bearer <token>`; the scheme in any case (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What is not base64url of a text stays as it is, and so proves nobody.
fn from_base64url(encoded: &str) -> Secret {
    let decoded = URL_SAFE_NO_PAD.decode(encoded).ok();
    let token = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    Secret::new(token.unwrap_or_else(|| encoded.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::auth::{Grants, Token, digest};
    use crate::observe::Metrics;

    const TOKENS: [&str; 3] = ["Zm9v+/8=", "/abc", "cw_x"];

    fn auth() -> Authenticator {
        let tokens = TOKENS.map(|token| Token {
            name: token.into(),
            digest: digest(token),
            grants: Grants::default(),
            admin: false,
        });
        Authenticator::new(tokens, 9, Duration::from_secs(60), Arc::new(Metrics::new()))
    }

    /// The token that was proved, `None` without one, or the kind of the refusal.
    async fn proved(
        fields: &[(&'static str, &str)],
        query: &str,
        path: Option<(&str, &str)>,
    ) -> Result<Option<String>, Kind> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let auth = auth();
        let mut credentials = Credentials::of(&headers, Some(query));
        if let Some((endpoint, rest)) = path {
            credentials.add_path(endpoint, rest, &auth);
        }
        let proved = credentials.prove(&auth, &Source::bus("test")).await;
        proved
            .map(|caller| caller.map(|caller| caller.name().to_owned()))
            .map_err(|fault| fault.kind)
    }

    async fn in_path(endpoint: &str, rest: &str) -> Result<Option<String>, Kind> {
        proved(&[], "", Some((endpoint, rest))).await
    }

    #[tokio::test]
    async fn two_different_ones_prove_nobody() {
        let bearer = ("authorization", "Bearer cw_x");
        let refused = Err(Kind::Unauthenticated);
        assert_eq!(proved(&[bearer], "token=Zm9v%2B/8=", None).await, refused);
        assert_eq!(proved(&[bearer], "", Some(("/", "//abc"))).await, refused);
        assert_eq!(
            proved(&[bearer], "", Some(("/", "/nonsense"))).await,
            refused
        );
        assert_eq!(proved(&[], "token=cw_x&auth_token=b", None).await, refused);
        let twice = proved(&[bearer], "token=cw_x", Some(("/", "/cw_x"))).await;
        assert_eq!(twice, Ok(Some("cw_x".into())));
    }

    #[tokio::test]
    async fn unknown_ones_are_refused_and_none_is_none() {
        assert_eq!(in_path("/", "/unknown").await, Err(Kind::Unauthenticated));
        assert_eq!(in_path("/", "/").await, Ok(None));
        assert_eq!(in_path("/rpc", "").await, Ok(None));
        assert_eq!(in_path("/rpc", "//").await, Ok(None));
        assert_eq!(
            proved(&[("authorization", "Basic eDp5")], "token=", None).await,
            Ok(None)
        );
    }

    #[tokio::test]
    async fn the_header_takes_its_scheme_in_any_case() {
        for value in ["Bearer cw_x", "bearer cw_x", "BEARER   cw_x "] {
            let proved = proved(&[("authorization", value)], "", None).await;
            assert_eq!(proved, Ok(Some("cw_x".into())), "{value}");
        }
    }

    #[tokio::test]
    async fn the_path_takes_base64_as_clients_write_it() {
        let found = Ok(Some("Zm9v+/8=".to_owned()));
        for rest in ["/Zm9v+/8=", "//Zm9v+/8=", "/Zm9v%2B%2F8%3D", "/Zm9v%2b/8="] {
            assert_eq!(in_path("/", rest).await, found, "{rest}");
            assert_eq!(in_path("/rpc", rest).await, found, "{rest}");
        }
        assert_eq!(in_path("/", "//abc").await, Ok(Some("/abc".into())));
        assert_eq!(in_path("/rpc", "/abc").await, Ok(Some("/abc".into())));
        assert_eq!(in_path("/rpc", "//abc").await, Ok(Some("/abc".into())));
        assert_eq!(in_path("/rpc", "///abc").await, Err(Kind::Unauthenticated));
    }

    #[tokio::test]
    async fn the_query_forgives_a_plus() {
        let found = Ok(Some("Zm9v+/8=".to_owned()));
        for query in [
            "token=Zm9v+/8=",
            "auth_token=Zm9v%2B/8%3D",
            "a=1&token=Zm9v%20/8=",
        ] {
            assert_eq!(proved(&[], query, None).await, found, "{query}");
        }
    }

    #[tokio::test]
    async fn a_subprotocol_carries_a_token() {
        let encoded = URL_SAFE_NO_PAD.encode("cw_x");
        let offer = format!("callway.jsonrpc, {BEARER_PROTOCOL}{encoded}");
        let proved = |value: String| async move {
            proved(&[("sec-websocket-protocol", value.as_str())], "", None).await
        };
        assert_eq!(proved(offer).await, Ok(Some("cw_x".into())));
        let broken = format!("{BEARER_PROTOCOL}!!");
        assert_eq!(proved(broken).await, Err(Kind::Unauthenticated));
    }
}

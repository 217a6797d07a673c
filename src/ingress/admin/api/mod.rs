//! `/api`: what commands ask a running daemon for. Through the socket without a token, on the
//! address with one that has `admin = true`.

mod dead;
mod spool;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::EXPECT;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::door::Guest;
use super::page::json_answer;
use crate::auth::Source;
use crate::call::{Fault, Kind, Via};
use crate::context::Context;
use crate::dialect::http::{Answer, problem};
use crate::ingress::body;
use crate::ingress::credentials::Credentials;

/// Bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// The interface, with the runtime on which work that outlives its request is done.
pub(super) struct Api {
    context: Context,
    main: Handle,
    /// Held while a dead letter is tried again.
    reviving: Arc<Mutex<()>>,
}

/// A request, as far as it concerns anybody here.
struct Ask<'a> {
    verb: &'a str,
    query: &'a str,
    body: Bytes,
}

impl Api {
    pub(super) fn new(context: &Context) -> Api {
        Api {
            context: context.clone(),
            main: Handle::current(),
            reviving: Arc::default(),
        }
    }

    /// Answers a request; `path` is what follows `/api/`.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        path: &str,
        guest: Guest,
    ) -> Answer {
        match self.enter(request, path, guest).await {
            Ok(answer) => answer,
            Err(fault) => problem(&fault).with("cache-control", "no-store"),
        }
    }

    async fn enter(
        &self,
        request: Request<Incoming>,
        path: &str,
        guest: Guest,
    ) -> Result<Answer, Fault> {
        let (parts, body) = request.into_parts();
        if let Guest::Peer { address, .. } = guest {
            let credentials = Credentials::of(&parts.headers, parts.uri.query());
            let via = Via::Http;
            let source = Source::Peer { address, via };
            self.admit(&credentials, &source).await?;
        }
        let waits = parts.headers.contains_key(EXPECT);
        let ask = Ask {
            verb: match parts.method.as_str() {
                "HEAD" => "GET",
                verb => verb,
            },
            query: parts.uri.query().unwrap_or_default(),
            body: body::read(body, MAX_BODY, PATIENCE, waits).await?,
        };
        let segments = path.split('/').map(decoded);
        let segments = segments.collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments[..] {
            ["tokens"] => self.tokens(&ask).await,
            ["tokens", name] => self.token(name, &ask).await,
            ["spool"] => self.spool(&ask).await,
            ["spool", "retry"] => self.retry_spool(&ask).await,
            ["dead"] => self.dead_letters(&ask).await,
            ["dead", id] => self.dead_letter(id, &ask).await,
            ["dead", id, "retry"] => self.retry_dead_letter(id, &ask).await,
            _ => Err(nothing("the administration has nothing at this path")),
        }
    }

    /// On an address that others can reach, only an administrator's token lets in.
    async fn admit(&self, credentials: &Credentials, source: &Source) -> Result<(), Fault> {
        match credentials.prove(&self.context.auth, source).await? {
            Some(caller) if caller.is_admin() => Ok(()),
            Some(_) => Err(Fault::new(
                Kind::Forbidden,
                "this token may not use the administration; it needs `admin = true`",
            )),
            None => Err(Fault::new(
                Kind::Unauthenticated,
                "no credential; send Authorization: Bearer TOKEN, or use the admin socket",
            )),
        }
    }
}

impl Ask<'_> {
    /// The body as what it must be.
    fn read<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => Fault::new(Kind::InvalidParams, error.to_string()),
            _ => Fault::new(Kind::ParseError, "the body is not JSON"),
        })
    }

    /// A text in the query.
    fn text(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        let (_, text) = pairs.find(|(key, _)| key == name)?;
        Some(text.into_owned())
    }

    /// A number in the query.
    fn number(&self, name: &str) -> Result<Option<u64>, Fault> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| {
            Fault::new(
                Kind::InvalidParams,
                format!("`{name}` in the query is a number"),
            )
        });
        number.map(Some)
    }

    /// The refusal of a verb that is not among these.
    fn not_allowed(&self, allowed: &'static str) -> Result<Answer, Fault> {
        let message = format!("only {allowed} here");
        let fault = Fault::new(Kind::InvalidRequest, message).with_http_status(405);
        Ok(problem(&fault).with("allow", allowed))
    }
}

fn decoded(segment: &str) -> Result<String, Fault> {
    let decoded = percent_decode_str(segment).decode_utf8();
    let decoded = decoded.map_err(|_| Fault::new(Kind::InvalidRequest, "the path is not UTF-8"))?;
    Ok(decoded.into_owned())
}

/// Bytes that are perhaps a text.
fn shown(bytes: &Bytes) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => serde_json::json!({ "base64": BASE64.encode(bytes) }),
    }
}

fn ok(value: &Value) -> Answer {
    json_answer(200, value)
}

/// What is asked for is not there.
fn nothing(message: &'static str) -> Fault {
    Fault::new(Kind::MethodNotFound, message)
}

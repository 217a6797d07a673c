//! One HTTP request: who asks, what for, the call, the answer. The dialect decides how it looks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{EXPECT, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Uri};

use tokio_util::sync::CancellationToken;

use super::body;
use super::credentials::Credentials;
use super::follow::{self, Stream};
use crate::auth::{Caller, Source, Verb};
use crate::call::{Call, CallId, Deadline, Fault, Kind, Via};
use crate::channel::{self, Origin, Publish, permit};
use crate::context::Context;
use crate::dialect::Told;
use crate::dialect::http::{
    Answer, Asked, Head, HttpDialect, Request, Selection, Terms, Wanted, allow_origin, calls,
    is_preflight, preflight, problem, stream_head,
};

/// How long a publisher without a wish waits to hear that its event was delivered, not only kept.
const DELIVERY: Duration = Duration::from_millis(500);

/// A response: whole, or a stream of events.
pub(super) type Response = hyper::Response<Either<Full<Bytes>, Stream>>;

/// What a request is answered by: an answer, or the head of a stream and what follows it.
struct Reply {
    answer: Answer,
    stream: Option<Stream>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        let stream = None;
        Reply { answer, stream }
    }
}

/// What the listener knows about a request.
pub(super) struct Exchange<'a> {
    pub(super) context: &'a Context,
    pub(super) dialect: &'a dyn HttpDialect,
    /// The path below the endpoint, without a leading slash.
    pub(super) path: &'a str,
    /// Where bad tries are counted.
    pub(super) source: Source,
    /// `allowed_origins` of the listener.
    pub(super) origins: Option<&'a [String]>,
    /// The token row that a request without a credential acts as.
    pub(super) anonymous: Option<&'a str>,
    /// Ends the connection at once.
    pub(super) cut: &'a CancellationToken,
}

impl Exchange<'_> {
    /// Serves one request. A client that goes away drops this, which cancels the call.
    pub(super) async fn serve(&self, request: hyper::Request<Incoming>) -> Response {
        let (parts, body) = request.into_parts();
        let head = head_of(&parts, self.path);
        if is_preflight(&head) {
            return write(preflight(&head, self.dialect.verbs(), self.origins));
        }
        let terms = Terms::of(&head, self.context.config.limits.max_timeout);
        let Reply { answer, stream } = match self.take(&parts, &head, &terms, body).await {
            Ok(reply) => Reply {
                answer: terms.tell(reply.answer),
                ..reply
            },
            Err(answer) => answer.into(),
        };
        let response = write(allow_origin(answer, head.header("origin"), self.origins));
        match stream {
            None => response,
            Some(stream) => response.map(|_empty| Either::Right(stream)),
        }
    }

    /// What comes of a request; or the answer to one that nothing came of.
    async fn take(
        &self,
        parts: &Parts,
        head: &Head,
        terms: &Terms,
        body: Incoming,
    ) -> Result<Reply, Answer> {
        let refuse = |fault: Fault| self.dialect.refuse(&fault);
        if let Some(answer) = self.dialect.without_call(head) {
            return Err(answer);
        }
        let (caller, body) = self.enter(parts, head, body).await.map_err(refuse)?;
        let request = match self.dialect.read(head, body).map_err(refuse)? {
            Asked::Call(request) => request,
            Asked::Channel(wanted) => {
                return self.channel(caller, wanted, terms).await.map_err(refuse);
            }
            Asked::Status(id) => {
                let state = self.context.oneway.state(id, caller.name()).await;
                return Ok(calls::state(id, state.map_err(refuse)?).into());
            }
        };
        if self.dialect.needs_get_route(head) {
            self.check_get(&caller, &request.method).map_err(|fault| {
                let allow = self.dialect.verbs_without_get();
                refuse(fault).with("allow", allow)
            })?;
        }
        let call = call(self.context, caller, request, terms);
        let id = call.id;
        let outcome = self.context.dispatcher.call(call).await;
        Ok(self.dialect.answer(head, id, outcome).into())
    }

    /// Publishes, looks back, or follows.
    async fn channel(&self, caller: Caller, wanted: Wanted, terms: &Terms) -> Result<Reply, Fault> {
        let hub = &self.context.hub;
        let (channel, selection) = match wanted {
            Wanted::Events(channel, selection) => (channel, selection),
            Wanted::Publish(channel, payload) => {
                let receipt = hub.publish(Publish {
                    channel,
                    payload,
                    origin: Origin::Client {
                        caller,
                        via: Via::Http,
                    },
                    id: None,
                    hops: terms.hops,
                    traceparent: terms.traceparent.clone(),
                    retained: false,
                })?;
                let patience = terms.wait.unwrap_or(DELIVERY);
                let kept = receipt.delivered_within(patience).await?;
                return Ok(self.dialect.told(&Told::Published(kept)).into());
            }
        };
        permit(&caller, Verb::Subscribe, &channel)?;
        let Selection {
            follow,
            count,
            since,
        } = selection?;
        if follow {
            let stream = follow::follow(self.context, caller, &channel, since, self.cut).await?;
            return Ok(Reply {
                answer: stream_head(),
                stream: Some(stream),
            });
        }
        let query = channel::Query {
            channel,
            count,
            since,
        };
        let past = hub.history(&caller, query).await?;
        Ok(self.dialect.told(&Told::Past(past)).into())
    }

    /// Who asks, and the body. Nobody's body is read before it is known whose it is, unless it is
    /// the body that says so.
    async fn enter(
        &self,
        parts: &Parts,
        head: &Head,
        body: Incoming,
    ) -> Result<(Caller, Bytes), Fault> {
        let mut credentials = Credentials::of(&parts.headers, parts.uri.query());
        if !credentials.is_empty() || !self.dialect.credential_in_body(head) {
            let caller = self.prove(&credentials).await?;
            return Ok((caller, read_body(self.context, parts, body).await?));
        }
        let body = read_body(self.context, parts, body).await?;
        for credential in self.dialect.credentials_in(head, &body) {
            credentials.add(credential);
        }
        Ok((self.prove(&credentials).await?, body))
    }

    async fn prove(&self, credentials: &Credentials) -> Result<Caller, Fault> {
        let auth = &self.context.auth;
        let proved = credentials.prove(auth, &self.source).await?;
        proved
            .or_else(|| self.anonymous.and_then(|name| auth.by_name(name)))
            .ok_or_else(|| {
                Fault::new(
                    Kind::Unauthenticated,
                    "no credential; send Authorization: Bearer TOKEN",
                )
            })
    }

    /// A GET needs a route that allows it. Who may not call the method, or where there is none,
    /// learns that from the dispatcher, in the same words as with any other verb.
    fn check_get(&self, caller: &Caller, method: &str) -> Result<(), Fault> {
        let allowed = self.context.dispatcher.allows_get(method);
        if allowed == Some(false) && caller.may(Verb::Call, method) {
            return Err(Fault::new(
                Kind::InvalidRequest,
                "this method is called by POST; its route has no `get = true`",
            )
            .with_http_status(405));
        }
        Ok(())
    }
}

/// A call as a request asks for it.
pub(super) fn call(context: &Context, caller: Caller, request: Request, terms: &Terms) -> Call {
    let deadline = context.dispatcher.deadline(terms.wait);
    Call {
        id: CallId::new(),
        method: request.method.into(),
        params: request.params,
        caller,
        via: Via::Http,
        deadline: match terms.deadline_unix_ms {
            Some(ms) => deadline.min(Deadline::from_unix_ms(ms)),
            None => deadline,
        },
        hops: terms.hops,
        traceparent: terms.traceparent.clone(),
        key: terms.key.clone(),
        http: Some(Arc::new(request.parts)),
        progress: None,
    }
}

/// Reads a request's body within the limits, which are counted when they are reached.
pub(super) async fn read_body(
    context: &Context,
    parts: &Parts,
    body: Incoming,
) -> Result<Bytes, Fault> {
    let limits = &context.config.limits;
    let waits = parts.headers.contains_key(EXPECT);
    let read = body::read(body, limits.message, limits.handshake, waits).await;
    if let Err(fault) = &read {
        match fault.kind {
            Kind::TooLarge => context.metrics.limit_reached("message"),
            Kind::Timeout => context.metrics.limit_reached("handshake"),
            _ => {}
        }
    }
    read
}

/// As plain data. What is not text in a header field is shown with replacement characters.
pub(super) fn head_of(parts: &Parts, path: &str) -> Head {
    head(&parts.method, &parts.uri, &parts.headers, path)
}

/// The same from what every request has, whatever its body.
pub(super) fn head(verb: &Method, uri: &Uri, headers: &HeaderMap, path: &str) -> Head {
    let base = uri.path().strip_suffix(path).unwrap_or("/");
    Head {
        verb: verb.as_str().to_owned(),
        base: format!("{}/", base.trim_end_matches('/')),
        path: path.to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), text)
            })
            .collect(),
    }
}

/// The response to a request that is refused before its dialect is known.
pub(super) fn refuse(fault: &Fault) -> Response {
    write(problem(fault))
}

/// Writes an answer. A header field that is none, which only a script can make, is left out.
pub(super) fn write(answer: Answer) -> Response {
    let mut response = hyper::Response::new(Either::Left(Full::new(answer.body)));
    *response.status_mut() = hyper::StatusCode::from_u16(answer.status)
        .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(&value);
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    response.headers_mut().insert(
        hyper::header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

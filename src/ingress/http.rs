//! One HTTP request: who asks, what for, the call, the answer. The dialect decides how it looks.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{EXPECT, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::body;
use super::credentials::Credentials;
use crate::auth::{Caller, Source, Verb};
use crate::call::{Call, CallId, Deadline, Fault, Kind, Via};
use crate::context::Context;
use crate::dialect::http::{
    Answer, Head, HttpDialect, Query, Request, Terms, allow_origin, is_preflight, preflight,
    problem,
};

/// A response whose length is known before it is sent.
pub(super) type Response = hyper::Response<Full<Bytes>>;

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
        let answer = match self.take(&parts, &head, &terms, body).await {
            Ok(answer) => terms.tell(answer),
            Err(answer) => answer,
        };
        write(allow_origin(answer, head.header("origin"), self.origins))
    }

    /// The answer of a call, or of a request that did not become one.
    async fn take(
        &self,
        parts: &Parts,
        head: &Head,
        terms: &Terms,
        body: Incoming,
    ) -> Result<Answer, Answer> {
        let refuse = |fault: Fault| self.dialect.refuse(&fault);
        if let Some(answer) = self.dialect.without_call(head) {
            return Err(answer);
        }
        let (caller, body) = self.enter(parts, head, body).await.map_err(refuse)?;
        let request = self.dialect.read(head, body).map_err(refuse)?;
        if self.dialect.needs_get_route(head) {
            self.check_get(&caller, &request.method).map_err(|fault| {
                let allow = self.dialect.verbs_without_get();
                refuse(fault).with("allow", allow)
            })?;
        }
        let call = self.call(caller, request, terms);
        let id = call.id;
        let outcome = self.context.dispatcher.call(call).await;
        Ok(self.dialect.answer(head, id, outcome))
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
            return Ok((caller, self.body(parts, body).await?));
        }
        let body = self.body(parts, body).await?;
        for credential in Query::credentials(&body) {
            credentials.add(credential);
        }
        Ok((self.prove(&credentials).await?, body))
    }

    async fn body(&self, parts: &Parts, body: Incoming) -> Result<Bytes, Fault> {
        let limits = &self.context.config.limits;
        let waits = parts.headers.contains_key(EXPECT);
        let read = body::read(body, limits.message, limits.handshake, waits).await;
        if let Err(fault) = &read {
            match fault.kind {
                Kind::TooLarge => self.context.metrics.limit_reached("message"),
                Kind::Timeout => self.context.metrics.limit_reached("handshake"),
                _ => {}
            }
        }
        read
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

    fn call(&self, caller: Caller, request: Request, terms: &Terms) -> Call {
        let deadline = self.context.dispatcher.deadline(terms.wait);
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
}

/// As plain data. What is not text in a header field is shown with replacement characters.
fn head_of(parts: &Parts, path: &str) -> Head {
    Head {
        verb: parts.method.as_str().to_owned(),
        path: path.to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts
            .headers
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
    let mut response = hyper::Response::new(Full::new(answer.body));
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

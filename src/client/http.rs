//! One call, or one event, as one HTTP request.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response};
use url::Url;

use super::{Request, Trust, fault, ws};
use crate::auth::Secret;
use crate::call::{Fault, Kind, Payload};

/// What stays as it is in a segment of a path (RFC 3986 §3.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Answers are nested no deeper than this.
const DEPTH: usize = 1000;

/// `POST <url>/<method>` with the params as body.
pub(super) async fn call(
    url: &Url,
    token: Option<&Secret>,
    trust: &Trust,
    request: &Request,
) -> Result<Payload, Fault> {
    let mut post = client(trust)?
        .post(of_method(url, &request.method))
        .header(CONTENT_TYPE, request.params.content_type())
        .header(ACCEPT, "application/json")
        // Whole seconds, so this never bounds sooner than the caller asked for.
        .header(
            "prefer",
            format!("wait={}", request.timeout.as_millis().div_ceil(1000)),
        )
        .body(request.params.bytes().clone());
    if let Some(key) = &request.key {
        post = post.header("idempotency-key", key);
    }
    let response = send(post, url, token).await?;
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let body = response.bytes().await.map_err(|error| lost(url, &error))?;
    let mut payload = Payload::from_body(body, content_type.as_deref());
    payload.check(DEPTH)?;
    Ok(payload)
}

/// `POST <url>/channels/<channel>`; returns `{"id","position"?}`.
pub(super) async fn publish(
    url: &Url,
    token: Option<&Secret>,
    trust: &Trust,
    channel: &str,
    payload: &Payload,
) -> Result<Payload, Fault> {
    let post = client(trust)?
        .post(of_channel(url, channel))
        .header(CONTENT_TYPE, payload.content_type())
        .body(payload.bytes().clone());
    let response = send(post, url, token).await?;
    let said = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let mut kept = serde_json::Map::new();
    for (member, header) in [("id", "callway-event-id"), ("position", "callway-position")] {
        if let Some(value) = said(header) {
            kept.insert(member.into(), value.into());
        }
    }
    Ok(Payload::from_value(&kept))
}

/// `GET <url>/channels/<channel>` as an event stream.
pub(super) async fn follow(
    url: &Url,
    token: Option<&Secret>,
    trust: &Trust,
    channel: &str,
    since: Option<&str>,
) -> Result<Response, Fault> {
    let mut get = client(trust)?
        .get(of_channel(url, channel))
        .header(ACCEPT, "text/event-stream");
    if let Some(since) = since {
        get = get.header("last-event-id", since);
    }
    send(get, url, token).await
}

fn client(trust: &Trust) -> Result<Client, Fault> {
    Client::builder()
        .tls_backend_preconfigured((*trust.config()).clone())
        .user_agent(concat!("callway/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .build()
        .map_err(|error| Fault::new(Kind::Internal, error.to_string()))
}

/// The response, if it is a success.
async fn send(
    mut request: RequestBuilder,
    url: &Url,
    token: Option<&Secret>,
) -> Result<Response, Fault> {
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, ws::bearer(token)?);
    }
    let response = request.send().await.map_err(|error| lost(url, &error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.bytes().await.map_err(|error| lost(url, &error))?;
    Err(fault::from_http(status.as_u16(), &body))
}

fn lost(url: &Url, error: &reqwest::Error) -> Fault {
    let message = format!("cannot reach {}: {}", ws::shown(url), cause(error));
    Fault::new(Kind::Unavailable, message)
}

fn of_channel(endpoint: &Url, channel: &str) -> Url {
    of_method(endpoint, &format!("channels/{channel}"))
}

/// The URL of a method below an endpoint.
fn of_method(endpoint: &Url, method: &str) -> Url {
    let mut url = endpoint.clone();
    let mut path = url.path().trim_end_matches('/').to_owned();
    for segment in method.split('/') {
        path.push('/');
        path.extend(utf8_percent_encode(segment, SEGMENT));
    }
    url.set_path(&path);
    url
}

/// The innermost cause, which says most and never the URL.
pub(crate) fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_becomes_a_path() {
        let of =
            |base: &str, method: &str| of_method(&Url::parse(base).unwrap(), method).to_string();
        assert_eq!(of("http://h/api/", "a/b"), "http://h/api/a/b");
        assert_eq!(
            of("http://h?x=1", "blög%2F 1/?"),
            "http://h/bl%C3%B6g%252F%201/%3F?x=1"
        );
    }
}

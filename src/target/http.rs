//! An HTTP service that answers calls: one request each, its 2xx body is the result.

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use url::{Origin, Url};

use super::Target;
use crate::call::{Call, Fault, Form, Kind, Outcome, Payload, Reply};
use crate::client::{Trust, cause};
use crate::config::Limits;
use crate::router::{Captures, Place, Template};

/// Idle connections that are kept for one service.
const IDLE_PER_HOST: usize = 256;

/// The client that all HTTP targets share: pooled connections, no redirects, no proxy, and the
/// system's certificate authorities.
pub fn http_client(limits: &Limits) -> Result<Client, Fault> {
    Client::builder()
        .tls_backend_preconfigured((*Trust::load(None)?.config()).clone())
        .user_agent(concat!("callway/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(limits.handshake)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build()
        .map_err(|error| Fault::new(Kind::Internal, error.to_string()))
}

/// Calls go to one URL, whose path and query may hold captures.
pub struct HttpTarget {
    client: Client,
    url: Template,
    /// Where the template leads whatever is captured; captured text must not lead elsewhere.
    origin: Option<Origin>,
    verb: Method,
    max_answer: usize,
    json_depth: usize,
}

impl HttpTarget {
    /// A target at `url`, asked with `verb`.
    pub fn new(client: Client, url: &Template, verb: &str, limits: &Limits) -> HttpTarget {
        HttpTarget {
            client,
            origin: Url::parse(&url.with_wildcard("x"))
                .ok()
                .map(|url| url.origin()),
            url: url.clone(),
            verb: Method::from_bytes(verb.to_ascii_uppercase().as_bytes()).unwrap_or(Method::POST),
            max_answer: limits.message,
            json_depth: limits.json_depth,
        }
    }

    async fn ask(&self, call: &Call, captures: &Captures) -> Outcome {
        let mut url = self.url(captures)?;
        let mut headers = headers(call);
        let mut body = Bytes::new();
        if takes_query(&self.verb) {
            add_query(&mut url, &call.params)?;
        } else {
            body = call.params.bytes().clone();
            headers.insert(
                CONTENT_TYPE,
                HeaderValue::from_static(call.params.content_type()),
            );
        }
        let request = self.client.request(self.verb.clone(), url).headers(headers);
        let response = request.body(body).send().await.map_err(not_answered)?;
        let status = response.status();
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = self.body_of(response).await?;
        let mut payload = Payload::from_body(body, content_type.as_deref());
        let checked = payload.check(self.json_depth);
        if !status.is_success() {
            return Err(refused(status, &payload));
        }
        checked.map_err(|_defect| {
            Fault::new(
                Kind::TargetError,
                "the service's answer is not the JSON it claims to be",
            )
            .with_data(&serde_json::json!({ "status": status.as_u16() }))
        })?;
        Ok(Reply::new(payload))
    }

    fn url(&self, captures: &Captures) -> Result<Url, Fault> {
        let text = self.url.expand(captures, Place::Url)?;
        match Url::parse(&text) {
            Ok(url) if Some(url.origin()) == self.origin => Ok(url),
            _ => Err(Fault::new(
                Kind::InvalidRequest,
                "the method name cannot stand in this route's URL",
            )),
        }
    }

    /// Reads the whole answer, which the caller's deadline bounds in time and this in size.
    async fn body_of(&self, mut response: Response) -> Result<Bytes, Fault> {
        let too_large = || {
            let message = format!(
                "the service's answer has more than {} bytes; see limits.message",
                self.max_answer
            );
            Fault::new(Kind::TooLarge, message).handed_over()
        };
        if response.content_length() > Some(self.max_answer as u64) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(broken_off)? {
            if body.len() + chunk.len() > self.max_answer {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl Target for HttpTarget {
    fn call<'a>(&'a self, call: &'a Call, captures: &'a Captures) -> BoxFuture<'a, Outcome> {
        self.ask(call, captures).boxed()
    }
}

/// What the service is told beside the params. `docs/wire-http.md` lists these.
fn headers(call: &Call) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    let mut add = |name: &'static str, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    add(
        ACCEPT.as_str(),
        "application/json, text/plain;q=0.9, */*;q=0.5",
    );
    let left = call.deadline.remaining().as_millis().div_ceil(1000).max(1);
    add("prefer", &format!("wait={left}"));
    add("callway-deadline", &call.deadline.unix_ms().to_string());
    add("callway-call-id", &call.id.to_string());
    add("callway-hops", &call.hops.saturating_add(1).to_string());
    if let Some(traceparent) = &call.traceparent {
        add("traceparent", traceparent);
    }
    headers
}

fn takes_query(verb: &Method) -> bool {
    matches!(*verb, Method::GET | Method::HEAD | Method::DELETE)
}

/// Puts the members of a params object into the query: a list repeats its key, a nested value is
/// written as JSON, `null` is left out.
fn add_query(url: &mut Url, params: &Payload) -> Result<(), Fault> {
    let members = match params.form() {
        Form::Json => match params.to_value() {
            Value::Null => return Ok(()),
            Value::Object(members) => members,
            _ => return Err(not_an_object()),
        },
        _ => return Err(not_an_object()),
    };
    let mut query = url.query_pairs_mut();
    for (key, value) in members {
        match value {
            Value::Array(items) => {
                for item in &items {
                    query.append_pair(&key, &plain(item));
                }
            }
            Value::Null => {}
            value => {
                query.append_pair(&key, &plain(&value));
            }
        }
    }
    drop(query);
    if url.query() == Some("") {
        url.set_query(None);
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn not_an_object() -> Fault {
    Fault::new(
        Kind::InvalidParams,
        "this method is answered by an HTTP GET or DELETE, so its params must be an object",
    )
    .with_data(&serde_json::json!({ "path": "" }))
}

fn not_answered(error: reqwest::Error) -> Fault {
    // The URL may hold what a caller captured; the log of this place needs only the cause.
    let error = error.without_url();
    if error.is_connect() {
        tracing::debug!(error = cause(&error), "an HTTP service cannot be reached");
        return Fault::unavailable("connect", "the HTTP service cannot be reached");
    }
    broken_off(error)
}

fn broken_off(error: reqwest::Error) -> Fault {
    tracing::debug!(
        error = cause(&error.without_url()),
        "an HTTP service broke off"
    );
    Fault::unavailable("broken_off", "the HTTP service broke off its answer").handed_over()
}

/// The service answered, but not with success: its status and body are the details.
fn refused(status: StatusCode, body: &Payload) -> Fault {
    let data = serde_json::json!({
        "status": status.as_u16(),
        "body": if body.form() == Form::UncheckedJson {
            Value::from(String::from_utf8_lossy(body.bytes()))
        } else {
            body.to_value()
        },
    });
    let message = format!("the HTTP service answered {status}");
    Fault::new(Kind::TargetError, message).with_data(&data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::Pattern;

    fn target(url: &str) -> HttpTarget {
        let limits = Limits::default();
        let client = http_client(&limits).unwrap();
        HttpTarget::new(client, &Template::parse(url).unwrap(), "get", &limits)
    }

    fn url(template: &str, name: &str) -> Result<String, Kind> {
        let captures = Pattern::parse("m/{x...}").unwrap().captures(name);
        target(template)
            .url(&captures)
            .map(String::from)
            .map_err(|fault| fault.kind)
    }

    fn query(params: &'static str) -> Result<String, Kind> {
        let mut url = Url::parse("http://h/p?fixed=1").unwrap();
        add_query(&mut url, &Payload::json(params)).map_err(|fault| fault.kind)?;
        Ok(url.query().unwrap_or_default().to_owned())
    }

    #[test]
    fn captured_text_stays_in_its_place() {
        assert_eq!(
            url("http://h:1/{x}", "m/a/b c?d").as_deref(),
            Ok("http://h:1/a/b%20c%3Fd")
        );
        assert_eq!(
            url("http://h/{x}", "m/@evil:80").as_deref(),
            Ok("http://h/%40evil%3A80")
        );
        assert_eq!(
            url("http://h:8{x}/", "m/1"),
            Err(Kind::InvalidRequest),
            "no capture chooses the host or port"
        );
        assert_eq!(url("http://{x}/", "m/evil"), Err(Kind::InvalidRequest));
    }

    #[test]
    fn an_object_becomes_a_query() {
        assert_eq!(query("[1]"), Err(Kind::InvalidParams));
        assert_eq!(query("\"text\""), Err(Kind::InvalidParams));
        assert_eq!(query("null").as_deref(), Ok("fixed=1"));
        assert_eq!(
            query(r#"{"a":"x&y","b":[1,"2"],"c":{"d":true},"e":null}"#).as_deref(),
            Ok("fixed=1&a=x%26y&b=1&b=2&c=%7B%22d%22%3Atrue%7D")
        );
    }

    #[test]
    fn an_error_body_that_is_not_json_is_shown_as_text() {
        let fault = refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            &Payload::from_body(&b"{broken"[..], Some("application/json")),
        );
        assert_eq!(
            fault.data.unwrap(),
            r#"{"body":"{broken","status":500}"#.as_bytes()
        );
    }
}

//! Web requests of scripts: made by the daemon, within `allow_urls`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use url::Url;

use super::reach::{self, Reach};
use crate::call::{Deadline, Fault, Kind};
use crate::client::Trust;
use crate::client::cause;
use crate::config::Limits;

/// One request takes no longer, whatever the deadline of the call.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes requests for scripts.
pub struct Fetcher {
    client: Client,
    reach: Reach,
    max_answer: usize,
}

/// The argument of `http.request`.
#[derive(Deserialize)]
struct Options {
    url: String,
    method: Option<String>,
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(rename = "bodyString")]
    body: Option<String>,
    files: Option<IgnoredAny>,
}

impl Fetcher {
    /// Within this reach.
    pub fn new(reach: Reach, limits: &Limits) -> Result<Fetcher, Fault> {
        let client = Client::builder()
            .tls_backend_preconfigured((*Trust::load(None)?.config()).clone())
            .user_agent(concat!("callway/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Guarded))
            .tcp_nodelay(true)
            .connect_timeout(limits.handshake)
            .build()
            .map_err(|error| Fault::new(Kind::Internal, error.to_string()))?;
        Ok(Fetcher {
            client,
            reach,
            max_answer: limits.message,
        })
    }

    /// Makes a request; the answer is the JSON text of `{status, headers, body, timeout}`.
    pub async fn fetch(&self, options: &[u8], deadline: Deadline) -> Result<Bytes, Fault> {
        let invalid =
            |message: String| Fault::new(Kind::InvalidParams, format!("http.request: {message}"));
        let options: Options =
            serde_json::from_slice(options).map_err(|error| invalid(error.to_string()))?;
        if options.files.is_some() {
            return Err(invalid("`files` are not provided by callway".into()));
        }
        let mut url = Url::parse(&options.url).map_err(|error| invalid(error.to_string()))?;
        self.reach.check("http.request", &url)?;
        let verb = options
            .method
            .as_deref()
            .unwrap_or("GET")
            .to_ascii_uppercase();
        let verb =
            Method::from_bytes(verb.as_bytes()).map_err(|error| invalid(error.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &options.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(&plain(value));
            match (name, value) {
                (Ok(name), Ok(value)) if name != reqwest::header::HOST => {
                    headers.append(name, value)
                }
                _ => return Err(invalid("a header that cannot be sent".into())),
            };
        }
        let pairs = options.params.iter().map(|(k, v)| (k.as_str(), plain(v)));
        let body = if let Some(body) = options.body {
            Bytes::from(body)
        } else if options.params.is_empty() {
            Bytes::new()
        } else if matches!(verb, Method::GET | Method::HEAD | Method::DELETE) {
            url.query_pairs_mut().extend_pairs(pairs);
            Bytes::new()
        } else {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.entry(CONTENT_TYPE).or_insert(form);
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.extend_pairs(pairs);
            form.finish().into()
        };
        let request = self.client.request(verb, url).headers(headers).body(body);
        let answer = async {
            let response = request.send().await.map_err(|error| {
                Fault::new(
                    Kind::Unavailable,
                    format!("http.request: {}", cause(&error)),
                )
            })?;
            self.answer(response).await
        };
        let wait = deadline.remaining().min(PATIENCE);
        let value = match tokio::time::timeout(wait, answer).await {
            Ok(answer) => answer?,
            Err(_) => json!({ "status": 0, "headers": {}, "body": "", "timeout": true }),
        };
        Ok(value.to_string().into())
    }

    async fn answer(&self, mut response: reqwest::Response) -> Result<Value, Fault> {
        let status = response.status().as_u16();
        let mut headers = Map::new();
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            match headers.get_mut(name.as_str()) {
                Some(Value::String(first)) => first.push_str(&format!(", {value}")),
                _ => {
                    headers.insert(name.to_string(), Value::from(value));
                }
            }
        }
        let mut body = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|error| {
                Fault::new(
                    Kind::Unavailable,
                    format!("http.request: {}", cause(&error)),
                )
            })?;
            let Some(chunk) = chunk else { break };
            if body.len() + chunk.len() > self.max_answer {
                return Err(Fault::new(
                    Kind::TooLarge,
                    format!(
                        "http.request: the answer has more than {} bytes (limits.message)",
                        self.max_answer
                    ),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8_lossy(&body);
        Ok(json!({ "status": status, "headers": headers, "body": body, "timeout": false }))
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Resolves names within [`reach`].
struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = reach::resolve(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

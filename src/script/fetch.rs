//! `http.request` of scripts: made by the daemon, within `scripts.allow_urls`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::call::{Deadline, Fault, Kind};
use crate::client::Trust;
use crate::client::cause;
use crate::config::{Limits, UrlRule};

/// One request takes no longer, whatever the deadline of the call.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes requests for scripts.
pub struct Fetcher {
    client: Client,
    rules: Vec<UrlRule>,
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
}

impl Fetcher {
    /// Within these rules; none allow nothing.
    pub fn new(rules: &[UrlRule], limits: &Limits) -> Result<Fetcher, Fault> {
        let client = Client::builder()
            .tls_backend_preconfigured((*Trust::load(None)?.config()).clone())
            .user_agent(concat!("callway/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(PublicOnly))
            .tcp_nodelay(true)
            .connect_timeout(limits.handshake)
            .build()
            .map_err(|error| Fault::new(Kind::Internal, error.to_string()))?;
        Ok(Fetcher {
            client,
            rules: rules.to_vec(),
            max_answer: limits.message,
        })
    }

    /// Makes a request; the answer is the JSON text of `{status, headers, body, timeout}`.
    pub async fn fetch(&self, options: &[u8], deadline: Deadline) -> Result<Bytes, Fault> {
        let invalid =
            |message: String| Fault::new(Kind::InvalidParams, format!("http.request: {message}"));
        let options: Options =
            serde_json::from_slice(options).map_err(|error| invalid(error.to_string()))?;
        let mut url = Url::parse(&options.url).map_err(|error| invalid(error.to_string()))?;
        if !self.rules.iter().any(|rule| allows(rule, &url)) {
            return Err(Fault::new(
                Kind::Forbidden,
                "http.request: no entry of scripts.allow_urls allows this URL",
            ));
        }
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

/// Scheme, host and port exact, the path as a prefix of whole segments. The parser has taken `..`
/// and its spellings out of both; an encoded `/` would be one segment here and two elsewhere.
fn allows(rule: &UrlRule, url: &Url) -> bool {
    let UrlRule(rule) = rule;
    let path = url.path();
    let prefix = rule.path().trim_end_matches('/');
    rule.scheme() == url.scheme()
        && rule.host_str() == url.host_str()
        && rule.port_or_known_default() == url.port_or_known_default()
        && url.username().is_empty()
        && url.password().is_none()
        && (prefix.is_empty() || !path.to_ascii_lowercase().contains("%2f"))
        && path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Resolves names to public addresses only, so that whoever owns a name's DNS cannot point it at
/// this machine or its network. A rule that wants these names their address, or `localhost`.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let local = name.as_str() == "localhost" || name.as_str().ends_with(".localhost");
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found
                .filter(|address| match local {
                    true => address.ip().is_loopback(),
                    false => is_public(address.ip()),
                })
                .collect();
            if found.is_empty() {
                let refused = "the name leads to no public address; name the address in allow_urls";
                return Err(std::io::Error::other(refused).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public Internet (the registries of RFC 6890 in short).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            !(a == 0
                || a >= 224
                || address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_documentation()
                || (a == 100 && b & 0xc0 == 64)
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && b & 0xfe == 18))
        }
        IpAddr::V6(address) => match (address.to_ipv4_mapped(), address.segments()) {
            (Some(inner), _) => is_public(IpAddr::V4(inner)),
            // NAT64 and 6to4 carry an IPv4 address inside.
            (None, [0x64, 0xff9b, 0, 0, 0, 0, high, low]) => is_public(v4(high, low)),
            (None, [0x2002, high, low, ..]) => is_public(v4(high, low)),
            (None, [first, ..]) => first & 0xe000 == 0x2000 && !is_documentation(address),
        },
    }
}

fn v4(high: u16, low: u16) -> IpAddr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    IpAddr::from([a, b, c, d])
}

fn is_documentation(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x2001, 0xdb8, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(rule: &str, url: &str) -> bool {
        allows(
            &UrlRule(Url::parse(rule).unwrap()),
            &Url::parse(url).unwrap(),
        )
    }

    #[test]
    fn a_rule_allows_what_it_says_and_nothing_beside() {
        let rule = "https://api.example.com/v1";
        for url in [
            "https://api.example.com/v1",
            "https://API.example.com:443/v1/x?y=z",
            "https://api.example.com/v1/../v1/",
        ] {
            assert!(allowed(rule, url), "{url}");
        }
        for url in [
            "http://api.example.com/v1",
            "https://api.example.com/v10",
            "https://api.example.com/",
            "https://api.example.com:444/v1",
            "https://api.example.com.evil.test/v1",
            "https://evil.test/v1",
            "https://api.example.com@evil.test/v1",
            "https://user@api.example.com/v1",
            "https://api.example.com/v1/../admin",
            "https://api.example.com/v1/%2e%2e/admin",
            "https://api.example.com/v1/..%2fadmin",
            "file:///etc/passwd",
        ] {
            assert!(!allowed(rule, url), "{url}");
        }
        // Every spelling of an address is that address.
        for url in [
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
        ] {
            assert!(!allowed("http://example.com/", url), "{url}");
            assert!(allowed("http://127.0.0.1/", url), "{url}");
        }
    }

    #[test]
    fn only_public_addresses_are_public() {
        for address in [
            "93.184.216.34",
            "1.1.1.1",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.3.4",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}

//! What stands behind `--via`: the URL of a callway, by transport.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{AmqpAddress, MqttAddress};
use crate::auth::Secret;
use crate::config::MqttProtocol;

/// Where a call is sent.
#[derive(Clone, Debug)]
pub enum Address {
    /// `ws://` or `wss://`: a `jsonrpc` endpoint.
    Ws(Url),
    /// `http://` or `https://`: an `http` endpoint; the method is appended to its path.
    Http(Url),
    /// `mqtt://` or `mqtts://`, with the topic prefix of `bus.calls` as path; `?protocol=4` speaks
    /// MQTT 3.1.1, `?reply=TOPIC` names where replies may go.
    Mqtt(MqttAddress),
    /// `amqp://` or `amqps://`, with `?queue=` as in `bus.calls`.
    Amqp(AmqpAddress),
}

/// What callway's documentation and default configuration name.
const QUEUE: &str = "callway.calls";
pub(super) const PREFIX: &str = "callway/call";
const REPLIES: &str = "callway/reply";

/// Why a URL cannot be called over.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not a URL at all.
    #[error("not a URL: {0}")]
    NotUrl(#[from] url::ParseError),
    /// A URL of something else.
    #[error("cannot call over {0}://; use ws, wss, http, https, mqtt, mqtts, amqp or amqps")]
    Scheme(String),
    /// Without a host there is nobody to connect to.
    #[error("the URL names no host")]
    NoHost,
    /// An MQTT version that is not spoken.
    #[error("?protocol= is 5 or 4 (MQTT 3.1.1)")]
    Protocol,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let url = Url::parse(text)?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(AddressError::NoHost);
        }
        match url.scheme() {
            "ws" | "wss" => Ok(Address::Ws(url)),
            "http" | "https" => Ok(Address::Http(url)),
            "mqtt" | "mqtts" => mqtt(&url).map(Address::Mqtt),
            "amqp" | "amqps" => Ok(Address::Amqp(AmqpAddress {
                login: login(&url).unwrap_or_else(|| ("guest".into(), Secret::new("guest"))),
                queue: query(&url, "queue").unwrap_or_else(|| QUEUE.into()),
                url: without_login(url),
            })),
            other => Err(AddressError::Scheme(other.to_owned())),
        }
    }
}

fn mqtt(url: &Url) -> Result<MqttAddress, AddressError> {
    let login = login(url);
    let prefix = percent_decode_str(url.path().trim_matches('/')).decode_utf8_lossy();
    let user = login.as_ref().map(|(user, _)| format!("/{user}"));
    let tls = url.scheme() == "mqtts";
    Ok(MqttAddress {
        host: host(url),
        port: url.port().unwrap_or(if tls { 8883 } else { 1883 }),
        tls,
        prefix: match &*prefix {
            "" => PREFIX.into(),
            prefix => prefix.into(),
        },
        // Where access rules keep each user's replies apart, this is the user's own place.
        replies: query(url, "reply")
            .unwrap_or_else(|| format!("{REPLIES}{}", user.unwrap_or_default())),
        protocol: match query(url, "protocol").as_deref() {
            None | Some("5") => MqttProtocol::V5,
            Some("4") => MqttProtocol::V4,
            Some(_) => return Err(AddressError::Protocol),
        },
        login,
    })
}

/// Without the brackets in which an IPv6 address stands in a URL.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    host.trim_matches(['[', ']']).to_owned()
}

/// The user and password of a URL, decoded.
fn login(url: &Url) -> Option<(String, Secret)> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = Some(url.username()).filter(|user| !user.is_empty())?;
    let password = url.password().map(decoded).unwrap_or_default();
    Some((decoded(user), Secret::new(password)))
}

/// A URL that may be shown.
fn without_login(mut url: Url) -> Url {
    // Fails only for URLs without a host, which were refused before.
    url.set_username("").unwrap_or_default();
    url.set_password(None).unwrap_or_default();
    url
}

fn query(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    let value = pairs.find(|(key, _)| key == name)?.1.into_owned();
    Some(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amqp(text: &str) -> AmqpAddress {
        match text.parse() {
            Ok(Address::Amqp(address)) => address,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_called_over_is_refused() {
        for text in ["", "callway", "ftp://host/", "http://", "amqp:///x"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_broker_s_login_stands_in_the_url_and_is_not_shown() {
        let address = amqp("amqp://ada:p%40ss@h:1234/my%2fhost?queue=q.1");
        assert_eq!(address.login.0, "ada");
        assert_eq!(address.login.1.expose(), "p@ss");
        assert_eq!(address.queue, "q.1");
        assert!(!format!("{address:?}").contains("p%40ss"));
        let Ok(Address::Mqtt(mqtt)) = "mqtts://d7:x@[::1]/acme/call".parse() else {
            panic!("an MQTT address");
        };
        assert_eq!((mqtt.host.as_str(), mqtt.port), ("::1", 8883));
        assert_eq!(
            (mqtt.prefix.as_str(), mqtt.replies.as_str()),
            ("acme/call", "callway/reply/d7")
        );
        let plain = amqp("amqps://h");
        assert_eq!(plain.login.0, "guest");
        assert_eq!(plain.queue, QUEUE);
    }
}

//! What stands behind `--via`: the URL of a callway, by transport.

use std::str::FromStr;

use url::Url;

/// Where a call is sent.
#[derive(Clone, Debug)]
pub enum Address {
    /// `ws://` or `wss://`: a `jsonrpc` endpoint.
    Ws(Url),
    /// `http://` or `https://`: an `http` endpoint; the method is appended to its path.
    Http(Url),
}

/// Why a URL cannot be called over.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not a URL at all.
    #[error("{0:?} is not a URL: {1}")]
    NotUrl(String, url::ParseError),
    /// A URL of something else.
    #[error("cannot call over {0}://; use ws, wss, http, https, mqtt, mqtts, amqp or amqps")]
    Scheme(String),
    /// Without a host there is nobody to connect to.
    #[error("the URL {0} names no host")]
    NoHost(Url),
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let url = Url::parse(text).map_err(|error| AddressError::NotUrl(text.to_owned(), error))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(AddressError::NoHost(url));
        }
        match url.scheme() {
            "ws" | "wss" => Ok(Address::Ws(url)),
            "http" | "https" => Ok(Address::Http(url)),
            other => Err(AddressError::Scheme(other.to_owned())),
        }
    }
}

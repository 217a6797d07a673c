//! What is behind one address: its endpoints, its TLS, and whom it lets in.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::ORIGIN;
use tokio_rustls::TlsAcceptor;

use super::tls;
use crate::app::StartError;
use crate::call::{Fault, Kind};
use crate::config::{Endpoint, Listener};

/// One bound `[[listen]]` row.
pub(super) struct Door {
    /// The address that was bound.
    pub(super) address: SocketAddr,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) config: Listener,
}

impl Door {
    pub(super) fn new(row: &Listener, address: SocketAddr) -> Result<Door, StartError> {
        // Over MQTT without WebSocket no client speaks of HTTP.
        let protocol = row.mqtt().is_none().then_some("http/1.1");
        let tls = row
            .tls
            .as_ref()
            .map(|tls| tls::acceptor(tls, protocol))
            .transpose();
        Ok(Door {
            address,
            tls: tls.map_err(StartError::Tls)?,
            config: row.clone(),
        })
    }

    /// The endpoint with the longest path that the request's path begins with, in whole segments,
    /// and what is left of the path after it, with its leading slash.
    pub(super) fn endpoint<'p>(&self, path: &'p str) -> Option<(&Endpoint, &'p str)> {
        self.config
            .endpoints
            .iter()
            .filter_map(|endpoint| Some((endpoint, below(&endpoint.path, path)?)))
            .max_by_key(|(endpoint, _)| endpoint.path.len())
    }

    /// Refuses a browser that comes from a page whose origin is not allowed.
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Fault> {
        if self.allows_origin(headers) {
            return Ok(());
        }
        Err(Fault::new(
            Kind::Forbidden,
            "pages of this origin may not connect; see listen.allowed_origins",
        ))
    }

    /// Whether a browser may come from where this request says it comes from. Who sends no origin
    /// is no browser. The list is matched exactly: no case folding, no default ports, no suffixes.
    fn allows_origin(&self, headers: &HeaderMap) -> bool {
        let Some(allowed) = &self.config.allowed_origins else {
            return true;
        };
        headers.get_all(ORIGIN).iter().all(|origin| {
            allowed
                .iter()
                .any(|one| one.as_bytes() == origin.as_bytes())
        })
    }

    /// The address of the client: the peer's, or what proxies that are trusted say it is.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let trusted = |address: &IpAddr| self.config.trusted_proxies.contains(address);
        let mut client = peer.to_canonical();
        // Each proxy adds at the end whom it was reached by, so the list is read backwards for
        // as long as the last one is trusted. What stands before may be made up by the client.
        let fields = headers.get_all("x-forwarded-for").iter().rev();
        let said = fields
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.rsplit(','));
        for address in said {
            if !trusted(&client) {
                break;
            }
            match address.trim().parse::<IpAddr>() {
                Ok(address) => client = address.to_canonical(),
                Err(_) => break,
            }
        }
        client
    }
}

/// What follows the endpoint's path, if the path is below it.
fn below<'p>(endpoint: &str, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix(endpoint.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Dialect;

    fn door(paths: &[&str], origins: Option<&[&str]>, proxies: &[&str]) -> Door {
        let endpoint = |path: &&str| Endpoint {
            path: (*path).to_owned(),
            dialect: Dialect::Jsonrpc,
        };
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        let row = Listener {
            address: ([127, 0, 0, 1], 0).into(),
            tls: None,
            allowed_origins: origins.map(owned),
            public_url: None,
            trusted_proxies: proxies.iter().map(|one| one.parse().unwrap()).collect(),
            endpoints: paths.iter().map(endpoint).collect(),
        };
        Door::new(&row, row.address).unwrap()
    }

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_longest_path_in_whole_segments_wins() {
        let door = door(&["/", "/rpc", "/rpc/v2"], None, &[]);
        let found = |path| {
            let (endpoint, rest) = door.endpoint(path).unwrap();
            (endpoint.path.clone(), rest.to_owned())
        };
        for (path, endpoint, rest) in [
            ("/", "/", "/"),
            ("/rpc", "/rpc", ""),
            ("/rpc/", "/rpc", "/"),
            ("/rpcx", "/", "/rpcx"),
            ("/rpc/v2/t=", "/rpc/v2", "/t="),
            ("//token", "/", "//token"),
        ] {
            assert_eq!(
                found(path),
                (endpoint.to_owned(), rest.to_owned()),
                "{path}"
            );
        }
        assert!(self::door(&["/rpc"], None, &[]).endpoint("/").is_none());
    }

    #[test]
    fn origins_are_matched_exactly() {
        let door = door(&["/"], Some(&["https://app.example.com"]), &[]);
        let allows = |origin: &str| door.allows_origin(&headers("origin", &[origin]));
        assert!(allows("https://app.example.com"));
        assert!(door.allows_origin(&HeaderMap::new()), "no browser");
        for foreign in [
            "null",
            "",
            "*",
            "http://app.example.com",
            "https://app.example.com:443",
            "https://app.example.com:8443",
            "https://app.example.com/",
            "https://app.example.com.",
            "https://app.example.com.evil.net",
            "https://evil-app.example.com",
            "https://app.example.comevil.net",
            "https://xapp.example.com",
            "https://example.com",
            "https://sub.app.example.com",
            "https://APP.example.com",
            "HTTPS://app.example.com",
            "https://app.example.com@evil.net",
            "https://evil.net@app.example.com",
            "https://evil.net#https://app.example.com",
            "https://app%2eexample.com",
            "https://app.example.com, https://evil.net",
            "https://evil.net https://app.example.com",
            " https://app.example.com",
            "//app.example.com",
            "app.example.com",
            "file://",
            "wss://app.example.com",
        ] {
            assert!(!allows(foreign), "{foreign}");
        }
        let two = headers("origin", &["https://app.example.com", "https://evil.net"]);
        assert!(!door.allows_origin(&two));
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let door = door(&["/"], None, &["10.0.0.1", "10.0.0.2"]);
        let client = |peer: &str, said: &[&str]| {
            let headers = headers("x-forwarded-for", said);
            door.client(peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(client("9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(client("10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(client("::ffff:10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(
            client("10.0.0.1", &["6.6.6.6, 1.1.1.1", "10.0.0.2"]),
            "1.1.1.1",
            "what the client made up is not looked at"
        );
        assert_eq!(client("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }
}

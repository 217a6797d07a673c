//! What scripts may connect to: what `allow_urls` lists, at addresses that were looked at.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use crate::call::{Fault, Kind};
use crate::config::UrlRule;

/// The rules of one kind of script.
#[derive(Clone)]
pub struct Reach {
    rules: Vec<UrlRule>,
    /// The key of the configuration that they stand under.
    key: &'static str,
}

impl Reach {
    /// What these rules, of this key, allow; none allow nothing.
    pub fn new(rules: &[UrlRule], key: &'static str) -> Reach {
        Reach {
            rules: rules.to_vec(),
            key,
        }
    }

    /// Refuses what no rule allows, in the name of the function `what`.
    pub fn check(&self, what: &str, url: &Url) -> Result<(), Fault> {
        if self.rules.iter().any(|rule| allows(rule, url)) {
            return Ok(());
        }
        let message = format!("{what}: no entry of {} allows this URL", self.key);
        Err(Fault::new(Kind::Forbidden, message))
    }
}

/// The addresses behind a URL that was checked. One that names an address itself was allowed by a
/// rule that names it too.
pub async fn addresses(url: &Url) -> io::Result<Vec<SocketAddr>> {
    let port = url.port_or_known_default().unwrap_or_default();
    match url.host() {
        Some(Host::Ipv4(address)) => Ok(vec![SocketAddr::from((address, port))]),
        Some(Host::Ipv6(address)) => Ok(vec![SocketAddr::from((address, port))]),
        Some(Host::Domain(name)) => resolve(name, port).await,
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Resolves a name to public addresses only, so that whoever owns a name's DNS cannot point it at
/// this machine or its network. A rule that wants these names their address, or `localhost`.
pub async fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let local = name == "localhost" || name.ends_with(".localhost");
    let found = tokio::net::lookup_host((name, port)).await?;
    let found: Vec<SocketAddr> = found
        .filter(|address| match local {
            true => address.ip().is_loopback(),
            false => is_public(address.ip()),
        })
        .collect();
    if found.is_empty() {
        let refused = "the name leads to no public address; name the address in allow_urls";
        return Err(io::Error::other(refused));
    }
    Ok(found)
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

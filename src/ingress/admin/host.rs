//! Whether a request was meant for this process, or a page on the web pointed its own name here.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HOST;

/// Whether the request names a host that can only mean this process: a loopback name, a loopback
/// address or the bound one. Where every address is bound, any address will do; a name will not.
pub(super) fn is_meant<B>(request: &Request<B>, bound: IpAddr) -> bool {
    let of_header = || request.headers().get(HOST)?.to_str().ok();
    let host = request.uri().host().or_else(of_header);
    host.is_some_and(|host| is_ours(host, bound))
}

fn is_ours(host: &str, bound: IpAddr) -> bool {
    let name = without_port(host);
    if let Ok(address) = name.parse::<IpAddr>() {
        return address.is_loopback() || address == bound || bound.is_unspecified();
    }
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match host.rsplit_once(':') {
        Some((name, _port)) if !name.contains(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_on_the_web_is_not_ours() {
        let bound: IpAddr = "10.0.0.5".parse().unwrap();
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "10.0.0.6",
            "10.0.0.5.evil",
            "localhost:80:80",
            "[::2]:9464",
        ] {
            assert!(!is_ours(host, bound), "{host}");
        }
        for host in [
            "localhost",
            "LocalHost:9464",
            "callway.localhost:1",
            "127.0.0.1:9464",
            "[::1]:9464",
            "10.0.0.5:9464",
        ] {
            assert!(is_ours(host, bound), "{host}");
        }
        assert!(is_ours("192.168.1.7:9464", "0.0.0.0".parse().unwrap()));
        assert!(!is_ours("evil.example", "0.0.0.0".parse().unwrap()));
    }
}

//! Opens the socket to a broker, whichever MQTT it speaks.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rumqttc_v5::NetworkOptions;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::cork::Cork;
use crate::config::MqttBus;

/// How long one address may take before the next is tried beside it (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// Host and port as one text; an IPv6 address stands in brackets.
pub(super) fn address(bus: &MqttBus) -> String {
    match bus.host.contains(':') {
        true => format!("[{}]:{}", bus.host, bus.port),
        false => format!("{}:{}", bus.host, bus.port),
    }
}

/// Connects to the first address of a broker that answers. The library bounds how long that takes.
pub(super) async fn dial(address: String, network: NetworkOptions) -> io::Result<Cork> {
    let mut addresses = lookup_host(address).await?;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the broker's name has no address");
    let mut tries = FuturesUnordered::new();
    loop {
        match addresses.next() {
            Some(next) => {
                let (address, network) = (next.to_string(), network.clone());
                tries.push(rumqttc_v5::default_socket_connect(address, network));
            }
            None if tries.is_empty() => return Err(failed),
            None => {}
        }
        match timeout(STAGGER, tries.next()).await {
            Ok(Some(Ok(stream))) => return Ok(Cork::new(stream)),
            Ok(Some(Err(error))) => failed = error,
            Ok(None) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_name_is_found_and_one_that_refuses_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Its IPv6 address, where it has one, refuses.
        let reached = dial(format!("localhost:{port}"), NetworkOptions::new()).await;
        assert!(reached.is_ok(), "{reached:?}");
        drop(listener);
        let refused = dial(format!("127.0.0.1:{port}"), NetworkOptions::new()).await;
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
}

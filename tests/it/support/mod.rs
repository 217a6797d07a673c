//! What the tests stand on: real brokers and callway as child processes, and small clients.
//!
//! Everything waits for events and has a deadline; everything that was started ends on drop.

mod amqp;
mod authority;
pub mod caller;
mod daemon;
mod echo;
mod http;
mod mosquitto;
pub mod mqtt;
mod observer;
mod process;
mod proxy;
mod rabbit;
pub mod service;
mod sse;
mod ws;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use self::amqp::{Amqp, header, headers};
pub use self::authority::{Authority, Identity};
pub use self::daemon::{Daemon, POWERLESS, Setup, TOKEN};
pub use self::echo::Echo;
pub use self::http::{Http, HttpReply};
pub use self::mosquitto::Mosquitto;
pub use self::mqtt::{Message, Mqtt, Version};
pub use self::observer::{Observer, Seen};
pub use self::process::Process;
pub use self::proxy::Proxy;
pub use self::rabbit::Rabbit;
pub use self::service::Service;
pub use self::sse::Sse;
pub use self::ws::Ws;

/// No single wait of a test is longer. Generous, because the machine may be busy; a test that
/// passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until a condition holds; fails the test with the condition's text if it never does.
#[macro_export]
macro_rules! eventually {
    ($condition:expr) => {
        $crate::eventually!($condition, within $crate::support::PATIENCE)
    };
    ($condition:expr, within $patience:expr) => {{
        let end = tokio::time::Instant::now() + $patience;
        loop {
            if $condition {
                break;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "never came true: {}",
                stringify!($condition)
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }};
}

/// A port that nobody listens on. Below the range from which the system takes ports for outgoing
/// connections, so that a broker finds its port free again when it restarts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 11_000 + (start.wrapping_add(step) % 20_000) as u16;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until something accepts connections on a local port; `log` is shown if nothing does.
pub async fn wait_for_port(port: u16, patience: Duration, log: &Path) {
    let connected = tokio::time::timeout(patience, async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    if connected.await.is_err() {
        let log = std::fs::read_to_string(log).unwrap_or_default();
        panic!("nothing listens on port {port} after {patience:?}; its log:\n{log}");
    }
}

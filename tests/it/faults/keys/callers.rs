//! Those who call with a key, over one transport or another, until the call has an outcome.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::faults::line::Line;
use crate::support::{Http, TOKEN};

/// Before a call that was not answered is repeated.
const RETRY: Duration = Duration::from_millis(50);
/// A call that is not answered for so long is repeated.
const ANSWER: Duration = Duration::from_secs(10);

/// How the calls with one key ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Result(Value),
    /// Whether it was carried out cannot be told: callway was killed meanwhile.
    Unknown,
}

/// A caller.
pub struct Caller<W> {
    way: W,
    /// Counts every try.
    calls: Arc<AtomicUsize>,
}

/// One transport.
pub trait Way {
    /// One try; `None` if it must be repeated.
    fn call(&mut self, key: usize) -> impl Future<Output = Option<Outcome>> + Send;
}

impl<W: Way> Caller<W> {
    /// One whose tries are counted.
    pub fn new(way: W, calls: &Arc<AtomicUsize>) -> Caller<W> {
        let calls = calls.clone();
        Caller { way, calls }
    }

    /// Calls until there is an outcome.
    pub async fn insist(&mut self, key: usize) -> Outcome {
        loop {
            self.calls.fetch_add(1, Ordering::Relaxed);
            match timeout(ANSWER, self.way.call(key)).await {
                Ok(Some(outcome)) => return outcome,
                Ok(None) | Err(_) => sleep(RETRY).await,
            }
        }
    }
}

/// JSON-RPC over WebSocket.
pub struct Socket {
    port: u16,
    line: Option<Line>,
}

impl Socket {
    /// Not connected yet.
    pub fn new(callway: SocketAddr) -> Socket {
        Socket {
            port: callway.port(),
            line: None,
        }
    }
}

impl Way for Socket {
    async fn call(&mut self, key: usize) -> Option<Outcome> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => Line::open(self.port).await?,
        };
        let more = format!(r#","params":{{"key":{key}}},"key":"k{key}""#);
        let mut response = line.request("work", &more).await?;
        self.line = Some(line);
        match response.get("result") {
            Some(_) => Some(Outcome::Result(response["result"].take())),
            None => of_fault(&response["error"]["data"], "detail"),
        }
    }
}

/// HTTP, one connection for each call.
pub struct Web(Http);

impl Web {
    /// A client.
    pub fn new(callway: SocketAddr) -> Web {
        let http = Http::new(callway).bearer(TOKEN);
        Web(http.header("content-type", "application/json"))
    }
}

impl Way for Web {
    async fn call(&mut self, key: usize) -> Option<Outcome> {
        let http = self.0.clone().header("idempotency-key", &format!("k{key}"));
        let params = format!(r#"{{"key":{key}}}"#);
        let reply = http
            .try_send("POST", "/api/work", params.as_bytes())
            .await?;
        match reply.status {
            200 => Some(Outcome::Result(reply.json())),
            _ => of_fault(&reply.json(), "data"),
        }
    }
}

/// The one fault that is an outcome; after those of passing trouble the call is repeated.
fn of_fault(fault: &Value, data: &str) -> Option<Outcome> {
    match fault["kind"].as_str() {
        Some("unavailable") if fault[data]["reason"] == "outcome_unknown" => Some(Outcome::Unknown),
        Some("unavailable" | "shutting_down" | "overloaded" | "timeout") => None,
        _ => panic!("not expected: {fault}"),
    }
}

//! The caller's side: makes one call over any transport, holds a worker's WebSocket session,
//! publishes and follows channels, asks a daemon of this machine. Used by the commands.

mod address;
mod admin;
mod amqp;
mod channels;
mod events;
mod fault;
mod http;
mod mqtt;
mod outbound;
mod sse;
mod trust;
mod work;
mod ws;

use std::time::Duration;

use crate::auth::Secret;
use crate::call::{Fault, Kind, Payload};

pub use self::address::{Address, AddressError};
pub use self::admin::ask;
pub use self::amqp::AmqpAddress;
pub use self::events::{Following, Told, publish};
pub use self::fault::from_jsonrpc;
pub(crate) use self::http::cause;
pub use self::mqtt::MqttAddress;
pub use self::outbound::{Heard, Outbound};
pub use self::trust::Trust;
pub use self::work::{Asked, Work};
pub use self::ws::{Frame, Socket};

/// How much longer than the call's own timeout a client waits: the daemon's fault, which has the
/// call id, is worth more than the client's own.
const GRACE: Duration = Duration::from_millis(500);

/// One call to make.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// JSON text.
    pub params: Payload,
    /// How long it may take, connecting included.
    pub timeout: Duration,
    /// An idempotency key.
    pub key: Option<String>,
}

/// Makes one call. Never waits much longer than its timeout.
pub async fn call(
    address: &Address,
    token: Option<&Secret>,
    trust: &Trust,
    request: &Request,
) -> Result<Payload, Fault> {
    let outcome = async {
        match address {
            Address::Ws(url) => ws::call(url, token, trust, request).await,
            Address::Http(url) => http::call(url, token, trust, request).await,
            Address::Mqtt(address) => mqtt::call(address, token, trust, request).await,
            Address::Amqp(address) => amqp::call(address, token, trust, request).await,
        }
    };
    match tokio::time::timeout(request.timeout + GRACE, outcome).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::new(
            Kind::Timeout,
            format!(
                "no answer within {:?}; whether the call was carried out is unknown",
                request.timeout
            ),
        )),
    }
}

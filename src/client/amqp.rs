//! One call as one AMQP message to the queue on which callway takes calls.

use super::{Request, Trust, fault};
use crate::auth::Secret;
use crate::call::{Deadline, Fault, Kind, Payload};
use crate::link::amqp::{Header, Outgoing, Server, ask};

/// Answers are nested no deeper than this.
const DEPTH: usize = 1000;

/// Where a queue is.
#[derive(Clone, Debug)]
pub struct AmqpAddress {
    /// Host, port and virtual host.
    pub url: url::Url,
    /// The broker's login.
    pub login: (String, Secret),
    /// `bus.calls` of the callway behind it.
    pub queue: String,
}

/// Sends the call through the default exchange, and waits for the reply by direct reply-to.
pub(super) async fn call(
    address: &AmqpAddress,
    token: Option<&Secret>,
    trust: &Trust,
    request: &Request,
) -> Result<Payload, Fault> {
    let server = Server::at(&address.url, address.login.clone(), || Ok(trust.clone()))?;
    let too_long = || Fault::new(Kind::InvalidRequest, "a queue has at most 255 bytes");
    let message = Outgoing::new("", &address.queue, &request.params).ok_or_else(too_long)?;
    // An expiration of 0 would mean "only if somebody takes it at once".
    let timeout = (request.timeout.as_millis() as u64).max(1);
    let deadline = Deadline::after(request.timeout);
    let mut message = message
        .reply_here()
        .method(&request.method)
        .expires_after_ms(timeout)
        .number("deadline", deadline.unix_ms());
    if let Some(key) = &request.key {
        message = message.text("idempotency-key", key);
    }
    if let Some(token) = token {
        message = message.text("token", token.expose());
    }
    // The daemon's fault at the deadline is worth more than the client's own.
    let patience = Deadline::after(request.timeout + super::GRACE);
    let reply = ask(&server, message, patience).await?;
    match reply.header("status") {
        None | Some(Header::Text("ok")) => {}
        Some(Header::Text(status)) => return Err(fault::from_bare(status, &reply.body)),
        Some(_) => return Err(fault::from_bare("", &reply.body)),
    }
    let mut payload = Payload::from_body(reply.body.clone(), reply.content_type());
    payload.check(DEPTH)?;
    Ok(payload)
}

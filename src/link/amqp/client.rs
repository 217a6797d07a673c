//! One request from outside the daemon: connects, sends it, waits for the reply, leaves.

use futures_util::StreamExt as _;
use lapin::Consumer;
use lapin::options::BasicPublishOptions;
use tokio::time::timeout_at;

use super::connect::{Server, open};
use super::sending::{key_of, not_taken, setup};
use super::{Message, Outgoing, lost, no_responder, random_key};
use crate::call::{Deadline, Fault, Kind};

/// Sends one request, by [`Outgoing::reply_here`], and waits for its reply.
///
/// Returns `unavailable` if the broker is away, `no_responder` if no queue takes the request, and
/// `timeout` at the deadline.
pub async fn ask(server: &Server, request: Outgoing, deadline: Deadline) -> Result<Message, Fault> {
    let answered = exchange(server, request);
    timeout_at(deadline.instant(), answered)
        .await
        .unwrap_or_else(|_| Err(Fault::new(Kind::Timeout, "no reply came in time")))
}

async fn exchange(server: &Server, request: Outgoing) -> Result<Message, Fault> {
    let away = |why: String| Fault::unavailable("link_down", format!("the broker: {why}"));
    let (open, _events) = open(server, "callway call").await.map_err(away)?;
    let channels = setup(&open).await.map_err(away)?;
    let key = random_key()?;
    let request = request.correlation_id(&format!("{key:032x}"));
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let sent = channels.requests.basic_publish(
        request.exchange,
        request.routing_key,
        options,
        &request.body,
        request.properties.with_headers(request.headers),
    );
    let gone = |error: lapin::Error| away(error.to_string()).handed_over();
    let confirmation = sent.await.map_err(gone)?.await.map_err(gone)?;
    if confirmation.is_nack() {
        return Err(not_taken());
    }
    if confirmation.take_message().is_some() {
        return Err(no_responder());
    }
    let reply = reply_to(key, channels.replies).await;
    open.close().await;
    reply
}

async fn reply_to(key: u128, mut replies: Consumer) -> Result<Message, Fault> {
    while let Some(Ok(reply)) = replies.next().await {
        if key_of(&reply) == Some(key) {
            return Ok(Message::new(reply));
        }
    }
    Err(lost())
}

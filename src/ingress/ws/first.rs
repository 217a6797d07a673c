//! The first message of a WebSocket whose client says only then who it is.

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::Socket;
use super::talk::End;
use crate::auth::Caller;
use crate::context::Context;
use crate::dialect::{CloseCode, Session};

/// What comes of a first message: a conversation with a caller, or the end of it.
pub(in crate::ingress) type Introduced =
    Result<(Caller, Box<dyn Session>), (CloseCode, &'static str)>;

/// Makes of a first message what comes of it.
pub(in crate::ingress) type Introduction =
    Box<dyn FnOnce(Bytes, Context) -> BoxFuture<'static, Introduced> + Send>;

/// Waits for the first text message, no longer than `limits.handshake`, and for what comes of it.
pub(super) async fn hear(
    socket: &mut Socket,
    introduction: Introduction,
    context: &Context,
) -> Result<(Caller, Box<dyn Session>), End> {
    let first = timeout(context.config.limits.handshake, text(socket, context));
    let first = tokio::select! {
        first = first => first.unwrap_or_else(|_elapsed| {
            context.metrics.limit_reached("handshake");
            Err(End::Close(CloseCode::Handshake, "no first message in time"))
        }),
        () = context.drain.cancelled() => Err(End::Close(CloseCode::Drain, "shutting down")),
    };
    let introduced = introduction(first?, context.clone()).await;
    introduced.map_err(|(code, reason)| End::Close(code, reason))
}

/// The next text message; binary ones are ignored.
async fn text(socket: &mut Socket, context: &Context) -> Result<Bytes, End> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.into()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(End::of(&error, context)),
            None => return Err(End::Gone),
        }
    }
}

//! Closes a WebSocket so that the client gets to read why.

use std::time::Duration;

use futures_util::stream::FusedStream as _;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::Socket;
use crate::context::Context;
use crate::dialect::CloseCode;

/// How long the close frame may wait for a client that does not read.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long what the client still sends is read and thrown away. Closing a socket with unread
/// bytes resets it, and a reset may overtake the close frame.
const LINGER: Duration = Duration::from_secs(1);
/// The same for a client that is slow: what it has not read yet would be lost with the reset.
const LINGER_FOR_SLOW: Duration = Duration::from_secs(4);
/// All of it, when everything has to end now.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Sends the close frame and waits, not for long, for the client's. `unread` says that the client
/// has left unread what was sent before.
pub(super) async fn say(
    socket: Socket,
    code: CloseCode,
    reason: &'static str,
    unread: bool,
    context: &Context,
) {
    tokio::select! {
        () = until_read(socket, code, reason, unread) => {}
        () = async {
            context.stop.cancelled().await;
            tokio::time::sleep(AT_ONCE).await;
        } => {}
    }
}

async fn until_read(mut socket: Socket, code: CloseCode, reason: &'static str, unread: bool) {
    let frame = CloseFrame {
        code: (code as u16).into(),
        reason: reason.into(),
    };
    // `send` comes back with an error where the peer has closed already; then there is no more
    // to say.
    let sent = timeout(PATIENCE, socket.send(Message::Close(Some(frame)))).await;
    if matches!(sent, Ok(Ok(()))) {
        let patience = if unread { LINGER_FOR_SLOW } else { LINGER };
        let _lingered = timeout(patience, linger(socket)).await;
    }
}

/// Reads until the client has closed too.
async fn linger(mut socket: Socket) {
    if !socket.is_terminated() {
        while let Some(Ok(_)) = socket.next().await {}
        return;
    }
    // After a broken frame nothing more can be made out, not even a close frame.
    let mut stream = socket.into_inner();
    if stream.shutdown().await.is_ok() {
        let mut rest = vec![0; 4096];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }
}

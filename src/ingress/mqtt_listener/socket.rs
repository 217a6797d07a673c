//! The byte stream of a connection: TCP, TLS, or the binary frames of a WebSocket (MQTT 5.0 §6).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::ingress::stream::Stream;

/// What packets are read from and written to.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl Socket for Stream {}
impl Socket for Frames {}

/// A WebSocket as a byte stream. Packets and frames need not begin together.
pub(super) struct Frames {
    socket: WebSocketStream<Stream>,
    /// Of a frame that was not read to its end.
    left: Bytes,
}

impl Frames {
    pub(super) fn new(socket: WebSocketStream<Stream>) -> Frames {
        let left = Bytes::new();
        Frames { socket, left }
    }
}

impl AsyncRead for Frames {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.left = bytes,
                // §6.0.0-1: anything else than binary data ends the connection.
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(no_binary())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.left.len().min(buf.remaining());
        buf.put_slice(&self.left[..count]);
        self.left.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Frames {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(cx)).map_err(broken)?;
        let frame = Message::Binary(Bytes::copy_from_slice(buf));
        socket.start_send(frame).map_err(broken)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx).map_err(broken)
    }
}

fn no_binary() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "MQTT travels in binary frames")
}

fn broken(error: Error) -> io::Error {
    io::Error::other(error)
}

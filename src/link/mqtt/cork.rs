//! The connection's byte stream. The library flushes it after every acknowledgement; here all
//! that is sent in one turn waits for its end, and leaves with one write.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that may wait for the end of a turn.
const FULL: usize = 16 * 1024;

/// Writes before it reads: whoever asks for more to read has nothing more to send.
#[derive(Debug)]
pub(super) struct Cork {
    stream: TcpStream,
    held: Vec<u8>,
}

impl Cork {
    pub(super) fn new(stream: TcpStream) -> Cork {
        Cork {
            stream,
            held: Vec::new(),
        }
    }

    /// Writes what is held.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_drain_if_full(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.held.len() < FULL {
            true => Poll::Ready(Ok(())),
            false => self.poll_drain(cx),
        }
    }
}

impl AsyncRead for Cork {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What cannot be written now goes on when it can: this is polled again then.
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cork {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain_if_full(cx))?;
        let room = FULL - self.held.len();
        let taken = &buf[..buf.len().min(room)];
        self.held.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain_if_full(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Cork {
    fn drop(&mut self) {
        // A DISCONNECT is the last word: nobody reads after it.
        while let Ok(written @ 1..) = self.stream.try_write(&self.held) {
            self.held.drain(..written);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    async fn pair() -> (Cork, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let (stream, accepted) = tokio::join!(stream, listener.accept());
        (Cork::new(stream.unwrap()), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn what_is_flushed_waits_for_the_next_read() {
        let (mut cork, mut peer) = pair().await;
        for word in ["all ", "at ", "once"] {
            cork.write_all(word.as_bytes()).await.unwrap();
            cork.flush().await.unwrap();
        }
        let mut got = [0; 64];
        let early = timeout(Duration::from_millis(50), peer.read(&mut got)).await;
        assert!(early.is_err());
        assert!(cork.read_u8().now_or_never().is_none());
        let length = peer.read(&mut got).await.unwrap();
        assert_eq!(&got[..length], b"all at once");
    }

    #[tokio::test]
    async fn more_than_fits_is_written_and_nothing_is_lost() {
        let (mut cork, mut peer) = pair().await;
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        let sending = async {
            cork.write_all(&sent).await.unwrap();
            cork.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(sending, peer.read_to_end(&mut got));
        read.unwrap();
        assert!(got == sent);
    }

    #[tokio::test]
    async fn the_last_word_is_said_although_nobody_reads_after_it() {
        let (mut cork, mut peer) = pair().await;
        cork.write_all(b"bye").await.unwrap();
        cork.flush().await.unwrap();
        drop(cork);
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"bye");
    }
}

//! A client's byte stream, plain or over TLS, that knows how much was written to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::auth::{Digest, fingerprint};

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Stream {
    inner: Inner,
    written: u64,
}

#[derive(Debug)]
enum Inner {
    Plain(TcpStream),
    // Boxed: a TLS session is large, and most connections of most installations are plain.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn plain(tcp: TcpStream) -> Stream {
        Stream {
            inner: Inner::Plain(tcp),
            written: 0,
        }
    }

    pub(super) fn tls(tls: TlsStream<TcpStream>) -> Stream {
        Stream {
            inner: Inner::Tls(Box::new(tls)),
            written: 0,
        }
    }

    /// The fingerprint of the certificate that the client showed in its handshake, where an
    /// authority of the listener vouches for it.
    pub(super) fn certificate(&self) -> Option<Digest> {
        match &self.inner {
            Inner::Plain(_) => None,
            Inner::Tls(tls) => {
                let (_, session) = tls.get_ref();
                let own = session.peer_certificates()?.first()?;
                Some(fingerprint(own))
            }
        }
    }

    /// How many bytes the system, or the TLS session, took so far. While it stands still although
    /// something waits, the client does not read.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Inner::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Inner::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        })?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Inner::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Inner::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

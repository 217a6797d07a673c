//! Where requests to the administration come in, and the connections there.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

use super::page::Page;
use super::socket::Socket;
use crate::ingress::http;

/// Connections that one door serves at once; more wait in the system's queue.
const CONNECTIONS: usize = 64;
/// A client that sends no request for this long is let go.
const IDLE: Duration = Duration::from_secs(10);
/// Between two tries when the system has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who stands there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guest {
    /// Someone whom the permissions of the socket have let in.
    Operator,
    /// Someone at this address, who came to the one that is bound.
    Peer { address: IpAddr, bound: IpAddr },
}

impl Guest {
    /// The address that a `Host` may name beside loopback ones.
    pub(super) fn bound(self) -> IpAddr {
        match self {
            Guest::Operator => Ipv4Addr::LOCALHOST.into(),
            Guest::Peer { bound, .. } => bound,
        }
    }
}

/// One bound address, or the socket.
pub(super) enum Door {
    Address(TcpListener, SocketAddr),
    Socket(Socket),
}

impl Door {
    /// Binds an address; port 0 lets the system choose.
    pub(super) fn address(address: SocketAddr) -> io::Result<Door> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Door::Address(listener, address))
    }

    /// Binds the socket.
    pub(super) async fn socket(path: &Path) -> io::Result<Door> {
        Socket::bind(path).await.map(Door::Socket)
    }

    /// Serves whoever comes. Ends only if nobody ever can.
    pub(super) async fn serve(self, page: Arc<Page>) -> io::Result<Infallible> {
        let listener = Listener::of(&self)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        // Not the context's tasks: the drain, which waits for those, is to be seen here.
        let tasks = TaskTracker::new();
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return Err(io::ErrorKind::Other.into()); // the semaphore is never closed
            };
            match listener.accept().await {
                Ok((stream, guest)) => {
                    let page = page.clone();
                    tasks.spawn(async move {
                        talk(stream, guest, page).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "the administration cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A door in the hands of the runtime that serves it.
enum Listener {
    Address(tokio::net::TcpListener, IpAddr),
    Socket(tokio::net::UnixListener),
}

type Stream = Either<TcpStream, UnixStream>;

impl Listener {
    fn of(door: &Door) -> io::Result<Listener> {
        Ok(match door {
            Door::Address(listener, bound) => {
                let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
                Listener::Address(listener, bound.ip())
            }
            Door::Socket(socket) => Listener::Socket(socket.listener()?),
        })
    }

    async fn accept(&self) -> io::Result<(Stream, Guest)> {
        match self {
            Listener::Address(listener, bound) => {
                let (stream, peer) = listener.accept().await?;
                let (address, bound) = (peer.ip().to_canonical(), *bound);
                Ok((Either::Left(stream), Guest::Peer { address, bound }))
            }
            Listener::Socket(listener) => {
                let (stream, _nameless) = listener.accept().await?;
                Ok((Either::Right(stream), Guest::Operator))
            }
        }
    }
}

async fn talk(stream: Stream, guest: Guest, page: Arc<Page>) {
    let service = service_fn(move |request| {
        let page = page.clone();
        async move { Ok::<_, Infallible>(http::write(page.answer(request, guest).await)) }
    });
    let talking = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = talking {
        tracing::debug!(%error, "an admin connection broke");
    }
}

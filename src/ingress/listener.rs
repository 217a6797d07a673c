//! Binds addresses and accepts connections, nothing more: whatever may take time happens in the
//! connection's own task.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connection;
use super::door::Door;
use crate::app::StartError;
use crate::config::Config;
use crate::context::Context;
use crate::link::Backoff;

/// Connections beyond `limits.connections` that are let in at once only to be told so.
const TURNED_AWAY: usize = 64;
/// Accept errors come in swarms; one of them is logged in this time.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Every `[[listen]]` of the configuration, bound.
pub struct Listeners {
    bound: Vec<(TcpListener, Arc<Door>)>,
    places: Places,
}

impl Listeners {
    /// Binds them all. With port 0 the system chooses.
    pub async fn bind(config: &Config) -> Result<Listeners, StartError> {
        let mut bound = Vec::new();
        for row in &config.listeners {
            let refused = |source| StartError::Bind {
                address: row.address,
                source,
            };
            let socket = TcpListener::bind(row.address).await.map_err(refused)?;
            let address = socket.local_addr().map_err(refused)?;
            bound.push((socket, Arc::new(Door::new(row, address)?)));
        }
        Ok(Listeners {
            bound,
            places: Places {
                free: Arc::new(Semaphore::new(config.limits.connections)),
                beyond: Arc::new(Semaphore::new(TURNED_AWAY)),
            },
        })
    }

    /// The addresses that were bound, in the order of the configuration.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|(_, door)| door.address).collect()
    }

    /// Lets clients in until the drain.
    pub fn serve(self, context: &Context) {
        for (socket, door) in self.bound {
            tracing::info!(address = %door.address, tls = door.tls.is_some(), "listening");
            let accepting = accept(socket, door, self.places.clone(), context.clone());
            context.tasks.spawn(accepting);
        }
    }
}

/// The places for connections on all listeners together.
#[derive(Clone)]
struct Places {
    free: Arc<Semaphore>,
    beyond: Arc<Semaphore>,
}

/// A connection's place, given back on drop.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    /// Whether the connection is one too many and only there to be told so.
    pub(super) beyond: bool,
}

impl Places {
    fn take(&self) -> Option<Place> {
        let free = self.free.clone().try_acquire_owned();
        let beyond = free.is_err();
        let permit = free.or_else(|_full| self.beyond.clone().try_acquire_owned());
        Some(Place {
            _permit: permit.ok()?,
            beyond,
        })
    }
}

async fn accept(socket: TcpListener, door: Arc<Door>, places: Places, context: Context) {
    let mut trouble = Trouble::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = context.drain.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                trouble.over();
                let_in(tcp, peer, &door, &places, &context);
            }
            Err(error) if concerns_one(&error) => {}
            Err(error) => tokio::time::sleep(trouble.wait(&error, &door)).await,
        }
    }
}

fn let_in(tcp: TcpStream, peer: SocketAddr, door: &Arc<Door>, places: &Places, context: &Context) {
    let Some(place) = places.take() else {
        // So many too many that even telling them would cost too much: closed without a word.
        context.metrics.limit_reached("connections");
        return;
    };
    // Without it, small frames wait for acknowledgements of the ones before: 40 ms a call.
    if tcp.set_nodelay(true).is_err() {
        return; // gone already
    }
    let serving = connection::serve(tcp, peer.ip(), door.clone(), place, context.clone());
    context.tasks.spawn(async move {
        // A defect of callway ends one connection, and is seen.
        if AssertUnwindSafe(serving).catch_unwind().await.is_err() {
            tracing::error!("a connection's task panicked");
        }
    });
}

/// Whether an accept error is about the one connection that was being accepted.
fn concerns_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Accept errors that concern everyone: out of file descriptors, out of memory. Waited out.
struct Trouble {
    waits: Backoff,
    said: Option<Instant>,
}

impl Trouble {
    fn new() -> Trouble {
        Trouble {
            waits: Backoff::new(Duration::from_millis(5), Duration::from_millis(100)),
            said: None,
        }
    }

    fn wait(&mut self, error: &io::Error, door: &Door) -> Duration {
        if self.said.is_none_or(|said| said.elapsed() > SAY_AGAIN) {
            self.said = Some(Instant::now());
            tracing::warn!(address = %door.address, %error, "cannot accept connections, trying on");
        }
        self.waits.next()
    }

    fn over(&mut self) {
        self.waits.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_cap_a_few_are_let_in_to_be_told() {
        let places = Places {
            free: Arc::new(Semaphore::new(1)),
            beyond: Arc::new(Semaphore::new(1)),
        };
        let first = places.take().unwrap();
        let second = places.take().unwrap();
        assert_eq!((first.beyond, second.beyond), (false, true));
        assert!(places.take().is_none());
        drop(first);
        assert!(!places.take().unwrap().beyond);
    }
}

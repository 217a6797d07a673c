//! The task that owns the receiving connection of a bus: calls come in, and go back settled.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::board::Role;
use super::connect::{Server, open};
use super::publisher::GOOD;
use super::receiving::Receiving;
use super::topology;
use super::{Delivery, Message, Shared, backoff};
use crate::config::AmqpBus;
use crate::context::Context;
use crate::observe::LinkState;

/// Between tries when the broker refuses what callway declares: people have to act first.
const REFUSED: Duration = Duration::from_secs(10);
/// The same after a message that the library could not read, which the broker delivers up to its
/// limit: the sooner that is reached, the better.
const UNREADABLE: Duration = Duration::from_millis(50);

/// Owns the receiving connection.
pub(super) struct Receiver<F> {
    context: Context,
    bus: Arc<AmqpBus>,
    queue: String,
    shared: Arc<Shared>,
    on_message: F,
    /// Whether the last session ended by a message that the library could not read.
    careful: bool,
}

/// Why a session ended before the drain.
enum Ended {
    /// The connection could not be made, or was lost.
    Lost(String),
    /// The broker refuses what callway declares.
    Refused(String),
    /// The library could not read a message.
    Unreadable(String),
}

impl<F: Fn(Message, Delivery) + Send + Sync + 'static> Receiver<F> {
    pub fn new(
        context: Context,
        bus: Arc<AmqpBus>,
        queue: &str,
        shared: Arc<Shared>,
        on_message: F,
    ) -> Receiver<F> {
        // At once: the bus is not up before this connection is.
        shared.board.set(Role::Receive, LinkState::Connecting, "");
        Receiver {
            context,
            bus,
            queue: queue.into(),
            shared,
            on_message,
            careful: false,
        }
    }

    /// Connects, receives and connects again until the drain.
    pub async fn run(mut self) {
        let mut backoff = backoff();
        let (context, shared) = (self.context.clone(), self.shared.clone());
        loop {
            if !self.careful {
                shared.board.set(Role::Receive, LinkState::Connecting, "");
            }
            let started = Instant::now();
            let ended = tokio::select! {
                ended = self.session() => ended,
                () = context.stop.cancelled() => return,
            };
            let Err(ended) = ended else { return };
            if started.elapsed() > GOOD {
                backoff.reset();
            }
            self.careful = matches!(ended, Ended::Unreadable(_));
            let (why, wait) = match ended {
                Ended::Lost(why) => (why, backoff.next()),
                Ended::Refused(why) => (why, REFUSED),
                Ended::Unreadable(why) => (why, UNREADABLE),
            };
            shared.board.set(Role::Receive, LinkState::Down, &why);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = context.drain.cancelled() => return,
            }
        }
    }

    /// One connection, from its first packet to its end; `Ok` once everything is settled.
    async fn session(&self) -> Result<(), Ended> {
        let drain = &self.context.drain;
        let receiving = tokio::select! {
            receiving = self.connect() => receiving?,
            () = drain.cancelled() => return Ok(()),
        };
        let mut receiving = receiving;
        let up = || self.shared.board.set(Role::Receive, LinkState::Up, "");
        if !self.careful {
            up();
        }
        let served = receiving.run(self.careful, up, &self.on_message, drain);
        served.await.map_err(Ended::of)?;
        receiving.close().await;
        Ok(())
    }

    async fn connect(&self) -> Result<Receiving, Ended> {
        let server = Server::of(&self.bus).map_err(Ended::Lost)?;
        let name = format!("callway {} receives", self.context.config.cluster.instance);
        let (opened, events) = open(&server, &name).await.map_err(Ended::Lost)?;
        let declared = topology::declare(&opened, &self.queue).await;
        declared.map_err(Ended::of)?;
        let prefetch = self.bus.prefetch;
        let started = Receiving::start(opened, events, &self.queue, prefetch, self.careful);
        started.await.map_err(Ended::of)
    }
}

impl Ended {
    /// Sorts what the library said.
    fn of(why: String) -> Ended {
        // A property that is not UTF-8: the library gives up the connection, and the broker
        // delivers the message again. One by one, no other delivery is counted with it.
        if why.contains("failed to parse") {
            return Ended::Unreadable(why);
        }
        // The broker's word on what was asked, not on the connection.
        if why.contains("AMQP soft error") {
            return Ended::Refused(why);
        }
        Ended::Lost(why)
    }
}

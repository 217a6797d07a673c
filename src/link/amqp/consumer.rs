//! The task that owns a receiving connection of a bus: messages come in, and go back settled.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::connect::{Server, open};
use super::intake::Intake;
use super::publisher::GOOD;
use super::receiving::Receiving;
use super::{Delivery, Message, Shared, backoff};
use crate::config::AmqpBus;
use crate::context::Context;
use crate::observe::LinkState;

/// Between tries when the broker refuses what callway declares: people have to act first.
const REFUSED: Duration = Duration::from_secs(10);
/// The same after a message that the library could not read, which the broker delivers up to its
/// limit: the sooner that is reached, the better.
const UNREADABLE: Duration = Duration::from_millis(50);

/// Owns a receiving connection.
pub(super) struct Receiver<F> {
    context: Context,
    bus: Arc<AmqpBus>,
    intake: Intake,
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
        intake: Intake,
        shared: Arc<Shared>,
        on_message: F,
    ) -> Receiver<F> {
        let receiver = Receiver {
            context,
            bus,
            intake,
            shared,
            on_message,
            careful: false,
        };
        // At once: the bus is not up before this connection is.
        receiver.tell(LinkState::Connecting, "");
        receiver
    }

    /// Connects, receives and connects again until the drain.
    pub async fn run(mut self) {
        if self.intake.is_idle().await {
            return;
        }
        let mut backoff = backoff();
        let context = self.context.clone();
        loop {
            if !self.careful {
                self.tell(LinkState::Connecting, "");
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
            self.tell(LinkState::Down, &why);
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
        // All that was left to do was to take something back.
        let Some(mut receiving) = receiving else {
            return Ok(());
        };
        let show = || match self.intake.trouble() {
            None => self.tell(LinkState::Up, ""),
            Some(why) => self.tell(LinkState::Degraded, &why),
        };
        if !self.careful {
            show();
        }
        let served = receiving.run(&self.intake, self.careful, show, &self.on_message, drain);
        served.await.map_err(Ended::of)?;
        receiving.close().await;
        Ok(())
    }

    async fn connect(&self) -> Result<Option<Receiving>, Ended> {
        let server = Server::of(&self.bus).map_err(Ended::Lost)?;
        let instance = &self.context.config.cluster.instance;
        let name = format!("callway {instance} {}", self.intake.title());
        let (opened, events) = open(&server, &name).await.map_err(Ended::Lost)?;
        let declared = self.intake.declare(&opened).await;
        declared.map_err(Ended::of)?;
        if !self.intake.takes() {
            opened.close().await;
            return Ok(None);
        }
        let (queue, prefetch) = (self.intake.queue(), self.bus.prefetch);
        let started = Receiving::start(opened, events, queue, prefetch, self.careful);
        started.await.map(Some).map_err(Ended::of)
    }

    fn tell(&self, state: LinkState, why: &str) {
        if self.intake.takes() {
            self.shared.board.set(self.intake.role(), state, why);
        }
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

//! The task that owns the sending connection of a bus: it connects, hands the connection to a
//! session, and starts over when that ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::connect::{Server, open};
use super::sending::{Channels, Sending, setup};
use super::{Delivery, Outgoing, Shared, Standing, backoff};
use crate::call::{Deadline, Fault};
use crate::config::AmqpBus;
use crate::context::Context;

/// A connection that lived this long was a good one: waits between tries start over.
pub(super) const GOOD: Duration = Duration::from_secs(5);

/// A message on its way out, and what its fate means.
pub(super) struct Publish {
    pub message: Outgoing,
    pub purpose: Purpose,
    pub deadline: Deadline,
}

/// Why a message is sent.
pub(super) enum Purpose {
    /// Somebody waits for the reply under this key.
    Request(u128),
    /// It settles a delivery.
    Answer(Delivery),
    /// It keeps a copy of a delivery.
    Park(Delivery),
    /// Somebody waits until the broker has it.
    Event(oneshot::Sender<Result<(), Fault>>),
}

/// Owns the sending connection.
pub(super) struct Publisher {
    context: Context,
    bus: Arc<AmqpBus>,
    messages: mpsc::Receiver<Publish>,
    /// Answers that wait for the next connection.
    held: Vec<Publish>,
    shared: Arc<Shared>,
}

impl Publisher {
    pub fn new(
        context: Context,
        bus: Arc<AmqpBus>,
        messages: mpsc::Receiver<Publish>,
        shared: Arc<Shared>,
    ) -> Publisher {
        Publisher {
            context,
            bus,
            messages,
            held: Vec::new(),
            shared,
        }
    }

    /// Where it runs: what others need until their last call is answered.
    pub fn tasks(&self) -> TaskTracker {
        self.context.background.clone()
    }

    /// Connects, serves and connects again until the process stops.
    pub async fn run(mut self) {
        let mut backoff = backoff();
        let (stop, shared) = (self.context.stop.clone(), self.shared.clone());
        loop {
            let started = Instant::now();
            let Err(why) = self.session().await else {
                return;
            };
            shared.set_standing(Standing::Down, &why);
            self.give_up();
            if started.elapsed() > GOOD {
                backoff.reset();
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = stop.cancelled() => return,
            }
            shared.set_standing(Standing::Connecting, "");
        }
    }

    /// One connection, from its first packet to its end; `Ok` if the process stops.
    async fn session(&mut self) -> Result<(), String> {
        let stop = self.context.stop.clone();
        let (mut sending, channels) = tokio::select! {
            connected = self.connect() => connected?,
            () = stop.cancelled() => return Ok(()),
        };
        let held = std::mem::take(&mut self.held);
        tokio::select! {
            why = sending.run(channels, held, &mut self.messages) => return Err(why),
            () = stop.cancelled() => {}
        }
        sending.close().await;
        Ok(())
    }

    async fn connect(&self) -> Result<(Sending, Channels), String> {
        let server = Server::of(&self.bus)?;
        let name = format!("callway {} sends", self.context.config.cluster.instance);
        let (opened, events) = open(&server, &name).await?;
        let channels = setup(&opened).await?;
        self.shared.exchanges.look(&opened, false).await;
        self.shared.set_standing(Standing::Up, "");
        let sending = Sending::new(opened, events, &channels, self.shared.clone());
        Ok((sending, channels))
    }

    /// The connection is gone. What was not sent may be tried elsewhere or later, what was has an
    /// unknown fate, and answers wait for the next connection.
    fn give_up(&mut self) {
        while let Ok(publish) = self.messages.try_recv() {
            match publish.purpose {
                purpose @ (Purpose::Request(_) | Purpose::Event(_)) => {
                    self.shared.fail(purpose, super::down());
                }
                _ => self.held.push(publish),
            }
        }
        self.shared.pending.clear();
    }
}

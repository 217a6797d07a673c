//! The task that owns the connection that receives: connects, restores what is subscribed, hands
//! on what comes in, and acknowledges in order what was settled.
//!
//! The broker keeps the session while callway is away. What is taken is acknowledged by whoever
//! took it; what is not taken is not acknowledged, and comes again.

mod guide;

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use self::guide::Guide;
use super::connection::{self, Connection, Event, Mode, Settings};
use super::receipt::{Ledger, Receipt, Tag};
use super::sending::FAREWELL;
use super::setup::Session;
use super::tries::Tries;
use super::watch::Vital;
use super::{Delivery, MqttLink, Setup};
use crate::link::board::Role;
use crate::observe::LinkState;

/// How long what was taken may leave no room for more, before the broker gets it back.
const HELD: Duration = Duration::from_secs(5);

/// Keeps the connection until it is stopped. Without anything to take it only ends a session that
/// an earlier configuration left at the broker.
pub(super) async fn keep(link: MqttLink, setup: Arc<Setup>) {
    let inward = &setup.inward;
    if inward.inlets.is_empty() {
        return forget(&setup).await;
    }
    let kept = match &inward.session {
        Session::Clean => None,
        Session::Kept(_) => Some(setup.limits.spool_age),
    };
    let mut tries = Tries::new(Mode::Receives { kept });
    let line = Line {
        link: &link,
        setup: &setup,
        ledger: Ledger::new(),
    };
    while !setup.stop.is_cancelled() {
        let outcome = match tries.begin(&setup) {
            Ok(settings) => line.session(&settings).await,
            Err(why) => Err(why),
        };
        let Err(why) = outcome else { break };
        line.tell(LinkState::Down, &why);
        tries.pause(&setup.stop).await;
    }
}

/// Ends the session of a client that receives nothing any more: the broker would go on to fill it.
async fn forget(setup: &Setup) {
    let Session::Kept(memory) = &setup.inward.session else {
        return;
    };
    if memory.recall().await.is_empty() {
        return;
    }
    let mut tries = Tries::new(Mode::Receives { kept: None });
    while !setup.stop.is_cancelled() {
        let opened = tries.begin(setup).and_then(|s| connection::open(&s));
        if let Ok((client, mut connection)) = opened
            && let Ok(Ok(Event::Connected { .. })) =
                timeout(setup.limits.handshake, connection.next()).await
        {
            client.disconnect(FAREWELL);
            let gone = async { while connection.next().await.is_ok() {} };
            timeout(FAREWELL * 2, gone).await.ok();
            return memory.keep(&[]).await;
        }
        tries.pause(&setup.stop).await;
    }
}

/// What stays the same over all connections.
struct Line<'a> {
    link: &'a MqttLink,
    setup: &'a Setup,
    ledger: Arc<Ledger>,
}

impl Line<'_> {
    /// One connection from its start to its end: why it was lost, or `Ok` if it was told to stop.
    ///
    /// The pump and the guide run side by side, and end together.
    async fn session(&self, settings: &Settings) -> Result<(), String> {
        let (client, connection) = connection::open(settings)?;
        let vital = Vital::default();
        let parting = OnceLock::new();
        let (accepted, acceptance) = oneshot::channel();
        let guide = Guide::new(self, &client, &vital, &parting);
        let outcome = tokio::select! {
            biased;
            why = self.pump(connection, &vital, accepted) => Err(why),
            outcome = guide.run(acceptance) => outcome,
        };
        // Once it took leave, it does not matter who ended first.
        parting.get().cloned().unwrap_or(outcome)
    }

    /// Polls the connection and hands on what comes in. Stops reading while there is no room, so
    /// that the rest waits at the broker.
    async fn pump(
        &self,
        mut connection: Connection,
        vital: &Vital,
        accepted: oneshot::Sender<bool>,
    ) -> String {
        let mut accepted = Some(accepted);
        loop {
            match connection.next().await {
                Ok(Event::Sent) => continue,
                Ok(Event::Delivery(delivery)) => {
                    if let Err(why) = self.take(delivery).await {
                        return why;
                    }
                }
                Ok(Event::Acknowledged | Event::Heard) => {}
                Ok(Event::Connected { resumed, .. }) => {
                    self.ledger.begin(resumed);
                    if let Some(accepted) = accepted.take() {
                        // The guide waits for it, and nobody else.
                        accepted.send(resumed).ok();
                    }
                }
                Err(why) => return why,
            }
            vital.heard();
        }
    }

    async fn take(&self, delivery: Delivery) -> Result<(), String> {
        let receipt = match delivery.qos {
            0 => Receipt::trivial(),
            // Left to the broker, which sends it to whoever comes next.
            _ if self.setup.stop.is_cancelled() => return Ok(()),
            qos => {
                let print = self.ledger.print(&delivery);
                let tag = Tag {
                    id: delivery.id,
                    qos,
                };
                if delivery.again && self.ledger.knows(tag, print) {
                    return Ok(());
                }
                if self.ledger.is_overdrawn() {
                    return Err("the broker does not wait for acknowledgements".into());
                }
                let place = timeout(HELD, self.ledger.place(delivery.payload.len())).await;
                let Ok(Some(place)) = place else {
                    self.setup.metrics.limit_reached("mqtt_unsettled");
                    return Err("what came in cannot be kept, so the broker has to wait".into());
                };
                self.ledger.receipt(tag, print, place)
            }
        };
        let mut inlets = self.setup.inward.inlets.iter();
        match inlets.find(|inlet| inlet.takes(delivery.topic())) {
            Some(inlet) => inlet.taker.deliver(self.link, delivery, receipt),
            // Of an earlier configuration.
            None => {
                self.setup.metrics.dropped("mqtt", "not_subscribed");
                receipt.ack();
            }
        }
        Ok(())
    }

    fn tell(&self, state: LinkState, why: &str) {
        self.link.shared.board.set(Role::Receive, state, why);
    }
}

//! The task that owns the connection that receives: connects, restores what is subscribed, hands
//! on what comes in, and acknowledges in order what was settled.
//!
//! The broker keeps the session while callway is away. What is taken is acknowledged by whoever
//! took it; what is not taken is not acknowledged, and comes again.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::connection::{self, Client, Connection, Event, Mode, Settings};
use super::receipt::{Ack, Due, Ledger, Receipt};
use super::sending::{FAREWELL, RESUBSCRIBE, refused};
use super::setup::Session;
use super::subscription::Subscription;
use super::tries::Tries;
use super::watch::{Vital, Watched, watch};
use super::{Delivery, MqttLink, Setup};
use crate::link::board::Role;
use crate::observe::LinkState;

/// How long the broker may take to answer a SUBSCRIBE: before that it sends what it kept.
const SUBSCRIBE: Duration = Duration::from_secs(60);
/// Filters in one packet; some brokers take no more.
const FILTERS: usize = 8;
/// How long a stop waits for the last receipts.
const LAST: Duration = Duration::from_millis(300);
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
        let guide = Guide {
            line: self,
            client: &client,
            vital: &vital,
            parting: &parting,
            standing: parking_lot::Mutex::new((LinkState::Connecting, String::new())),
        };
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
                let (ack, print) = (
                    Ack {
                        id: delivery.id,
                        qos,
                    },
                    self.ledger.print(&delivery),
                );
                if delivery.again && self.ledger.knows(ack, print) {
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
                self.ledger.receipt(ack, print, place)
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

    fn wanted(&self) -> Vec<Subscription> {
        let inlets = self.setup.inward.inlets.iter();
        inlets
            .flat_map(|inlet| inlet.subscriptions.clone())
            .collect()
    }

    fn tell(&self, state: LinkState, why: &str) {
        self.link.shared.board.set(Role::Receive, state, why);
    }
}

/// Takes a connection through its life, beside the pump.
struct Guide<'a> {
    line: &'a Line<'a>,
    client: &'a Client,
    vital: &'a Vital,
    /// Why it takes leave.
    parting: &'a OnceLock<Result<(), String>>,
    /// What is shown while the broker answers.
    standing: parking_lot::Mutex<(LinkState, String)>,
}

impl Guide<'_> {
    async fn run(&self, acceptance: oneshot::Receiver<bool>) -> Result<(), String> {
        let stop = &self.line.setup.stop;
        // The pump ends by itself if the broker takes too long to accept.
        let resumed = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = acceptance => accepted.map_err(|_| "the connection ended")?,
        };
        let subscribed = self.stay_subscribed(resumed);
        let dead = watch(self.vital, self);
        tokio::pin!(subscribed, dead);
        loop {
            tokio::select! {
                biased;
                due = self.due() => match due {
                    Due::Acks(acks) => {
                        for ack in acks {
                            self.client.acknowledge(ack).map_err(|_| "the connection ended")?;
                        }
                    }
                    Due::Refused => {
                        let why = "a message could not be kept, so the broker has to send it again";
                        return self.leave(Err(why.into())).await;
                    }
                    Due::Nothing => return self.leave(Ok(())).await,
                },
                why = &mut subscribed => return Err(why),
                why = &mut dead => return Err(why),
            }
        }
    }

    /// What is to be acknowledged, or, once it is told to stop, that nothing is any more.
    async fn due(&self) -> Due {
        let ledger = &self.line.ledger;
        tokio::select! {
            biased;
            due = ledger.due() => due,
            () = self.line.setup.stop.cancelled() => {
                timeout(LAST, ledger.last()).await.unwrap_or(Due::Nothing)
            }
        }
    }

    /// Ends the connection once what is queued was sent.
    async fn leave(&self, outcome: Result<(), String>) -> Result<(), String> {
        self.parting.set(outcome.clone()).ok();
        self.client.disconnect(FAREWELL);
        // The pump ends when all is sent, and with it this.
        sleep(FAREWELL * 2).await;
        outcome
    }

    /// Subscribes everything, gives up what an earlier configuration had subscribed, and goes on
    /// with what the broker refused. Ends only with the reason why it cannot.
    async fn stay_subscribed(&self, resumed: bool) -> String {
        let wanted = self.line.wanted();
        let filters: Vec<_> = wanted.iter().map(|wanted| wanted.filter.clone()).collect();
        let mut gone = Vec::new();
        if let Session::Kept(memory) = &self.line.setup.inward.session {
            gone = memory.add(&filters).await;
        }
        let mut open = match self.subscribe(wanted).await {
            Ok(open) => open,
            Err(why) => return why,
        };
        if !gone.is_empty() {
            if resumed && let Err(why) = self.unsubscribe(&gone).await {
                return why;
            }
            if let Session::Kept(memory) = &self.line.setup.inward.session {
                memory.keep(&filters).await;
            }
        }
        while !open.is_empty() {
            sleep(RESUBSCRIBE).await;
            open = match self.subscribe(open).await {
                Ok(open) => open,
                Err(why) => return why,
            };
        }
        std::future::pending().await
    }

    /// Asks for subscriptions, shows the outcome, and returns what the broker refused.
    async fn subscribe(&self, wanted: Vec<Subscription>) -> Result<Vec<Subscription>, String> {
        let ended = "the connection ended";
        let mut asked = Vec::new();
        for some in wanted.chunks(FILTERS) {
            asked.push(self.client.subscribe(some).map_err(|_| ended)?);
        }
        let mut answers = Vec::with_capacity(wanted.len());
        for asked in asked {
            match timeout(SUBSCRIBE, asked.wait()).await {
                Ok(some) => answers.extend(some.ok_or(ended)?),
                Err(_) => return Err("the broker does not answer a SUBSCRIBE".into()),
            }
        }
        let mut open = Vec::new();
        let mut standing = (LinkState::Up, String::new());
        for (wanted, answer) in wanted.into_iter().zip(answers) {
            if let Some(reason) = answer {
                standing = (LinkState::Down, refused(&wanted.filter, &reason));
                open.push(wanted);
            }
        }
        self.line.tell(standing.0, &standing.1);
        *self.standing.lock() = standing;
        Ok(open)
    }

    async fn unsubscribe(&self, gone: &[String]) -> Result<(), String> {
        for some in gone.chunks(FILTERS) {
            let asked = self.client.unsubscribe(some);
            let asked = asked.map_err(|_| "the connection ended")?;
            if !timeout(SUBSCRIBE, asked.wait()).await.unwrap_or(false) {
                return Err("the broker does not answer an UNSUBSCRIBE".into());
            }
        }
        tracing::info!(bus = %self.line.setup.bus.common.name, ?gone, "unsubscribed");
        Ok(())
    }
}

impl Watched for Guide<'_> {
    fn tracked(&self) -> u64 {
        0
    }

    fn is_waiting(&self) -> bool {
        false
    }

    fn ask(&self) {
        // Nothing is subscribed by this name, and that must be said.
        let nothing = self.line.setup.inward.client_id.clone();
        self.client.unsubscribe(&[nothing]).ok();
    }

    fn show_stalled(&self, stalled: bool) {
        let (state, why) = self.standing.lock().clone();
        if stalled {
            self.line
                .tell(LinkState::Down, "the broker does not answer");
        } else {
            self.line.tell(state, &why);
        }
    }
}

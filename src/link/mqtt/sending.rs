//! The task that owns the connection that sends: connects, subscribes the inbox, pumps, watches,
//! and starts over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::connection::{self, Client, Connection, Event, Mode, Settings};
use super::subscription::{Retain, Subscription};
use super::tries::Tries;
use super::watch::{Vital, Watched, watch};
use super::{Delivery, MqttLink, Open, Setup};
use crate::link::board::Role;
use crate::observe::LinkState;

/// Between tries to subscribe what the broker refused.
pub(super) const RESUBSCRIBE: Duration = Duration::from_secs(5);
/// For the last messages before the connection is closed.
pub(super) const FAREWELL: Duration = Duration::from_millis(500);

/// Keeps the connection until it is stopped.
pub(super) async fn keep(link: MqttLink, setup: Arc<Setup>) {
    let mut tries = Tries::new(Mode::Sends);
    while !setup.stop.is_cancelled() {
        let outcome = match tries.begin(&setup) {
            Ok(settings) => session(&link, &setup, &settings).await,
            Err(why) => Err(why),
        };
        // Order matters: nothing is sent any more, then whoever waits is told.
        link.shared.open.store(None);
        link.shared.inbox.clear();
        let Err(why) = outcome else { break };
        let board = &link.shared.board;
        board.set(Role::Send, LinkState::Down, &why);
        tries.pause(&setup.stop).await;
    }
}

/// One connection from its start to its end: why it was lost, or `Ok` if it was told to stop.
///
/// The pump and the guide run side by side in this task. Neither is restarted: when one ends, the
/// whole connection is given up, so a poll that was cut off half-way can do no harm.
async fn session(link: &MqttLink, setup: &Setup, settings: &Settings) -> Result<(), String> {
    let (client, connection) = connection::open(settings)?;
    let vital = Vital::default();
    let (accepted, acceptance) = oneshot::channel();
    let pump = pump(link, setup, connection, &vital, accepted);
    let guide = Guide {
        link,
        setup,
        vital: &vital,
        inbox: [Subscription {
            filter: link.shared.inbox.address().to_owned(),
            qos: 1,
            retain: Retain::Never,
        }],
    };
    tokio::select! {
        biased;
        why = pump => if setup.stop.is_cancelled() { Ok(()) } else { Err(why) },
        outcome = guide.run(client, acceptance) => outcome,
    }
}

/// Polls the connection and hands on what comes in. Nothing in here waits for anything else.
async fn pump(
    link: &MqttLink,
    setup: &Setup,
    mut connection: Connection,
    vital: &Vital,
    accepted: oneshot::Sender<usize>,
) -> String {
    let mut accepted = Some(accepted);
    loop {
        match connection.next().await {
            Ok(Event::Sent) => continue,
            Ok(Event::Delivery(delivery)) => dispatch(link, setup, delivery),
            Ok(Event::Acknowledged) => vital.acknowledged(),
            Ok(Event::Heard) => {}
            Ok(Event::Connected { max_packet, .. }) => {
                if let Some(accepted) = accepted.take() {
                    // The guide waits for it, and nobody else.
                    accepted.send(max_packet).ok();
                }
            }
            Err(why) => return why,
        }
        vital.heard();
    }
}

fn dispatch(link: &MqttLink, setup: &Setup, delivery: Delivery) {
    if !link.shared.inbox.covers(delivery.topic()) {
        setup.metrics.dropped("mqtt", "not_subscribed");
    } else if let Err(stray) = link.shared.inbox.deliver(delivery) {
        setup.metrics.dropped("mqtt", stray.reason());
    }
}

/// Takes a connection through its life, beside the pump.
struct Guide<'a> {
    link: &'a MqttLink,
    setup: &'a Setup,
    vital: &'a Vital,
    inbox: [Subscription; 1],
}

impl Guide<'_> {
    async fn run(self, client: Client, acceptance: oneshot::Receiver<usize>) -> Result<(), String> {
        let stop = &self.setup.stop;
        // The pump ends by itself if the broker takes too long to accept.
        let max_packet = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = acceptance => accepted.map_err(|_| "the connection ended")?,
        };
        let open = Arc::new(Open {
            client,
            max_packet,
            tracked: AtomicU64::new(0),
        });
        let mut refusal = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            refusal = self.subscribe(&open) => refusal?,
        };
        loop {
            self.show(refusal.as_deref());
            let watched = Line {
                guide: &self,
                open: &open,
                refusal: refusal.as_deref(),
            };
            tokio::select! {
                () = stop.cancelled() => {
                    open.client.disconnect(FAREWELL);
                    // The pump ends when all is sent, and with it this.
                    sleep(FAREWELL * 2).await;
                    return Ok(());
                }
                why = watch(self.vital, &watched) => return Err(why),
                () = sleep(RESUBSCRIBE), if refusal.is_some() => {
                    refusal = self.subscribe(&open).await?;
                }
            }
        }
    }

    /// Subscribes the inbox; returns why the broker refused it. Messages can be sent as soon as
    /// their replies come back.
    async fn subscribe(&self, open: &Arc<Open>) -> Result<Option<String>, String> {
        let asked = open
            .client
            .subscribe(&self.inbox)
            .map_err(|_| "the connection ended")?;
        let patience = self.setup.limits.handshake;
        let answers = match timeout(patience, asked.wait()).await {
            Ok(Some(answers)) => answers,
            Ok(None) => return Err("the connection ended".into()),
            Err(_) => return Err("the broker does not answer a SUBSCRIBE".into()),
        };
        let Some(reason) = answers.into_iter().next().flatten() else {
            self.link.shared.open.store(Some(open.clone()));
            return Ok(None);
        };
        let filter = &self.inbox[0].filter;
        Ok(Some(refused(filter, &reason)))
    }

    fn show(&self, trouble: Option<&str>) {
        let state = match trouble {
            None => LinkState::Up,
            Some(_) => LinkState::Down,
        };
        let board = &self.link.shared.board;
        board.set(Role::Send, state, trouble.unwrap_or_default());
    }
}

/// What is shown of a subscription that the broker refused.
pub(super) fn refused(filter: &str, reason: &str) -> String {
    format!("the broker refuses the subscription of {filter}: {reason}")
}

/// A connection under watch.
struct Line<'a> {
    guide: &'a Guide<'a>,
    open: &'a Open,
    refusal: Option<&'a str>,
}

impl Watched for Line<'_> {
    fn tracked(&self) -> u64 {
        self.open.tracked.load(Ordering::Relaxed)
    }

    fn is_waiting(&self) -> bool {
        self.guide.link.shared.inbox.is_waiting()
    }

    fn ask(&self) {
        // Subscribing again what is subscribed changes nothing and must be answered.
        self.open.client.subscribe(&self.guide.inbox).ok();
    }

    fn show_stalled(&self, stalled: bool) {
        let trouble = stalled.then_some("the broker does not answer");
        self.guide.show(trouble.or(self.refusal));
    }
}

//! The task that owns the connection: connects, subscribes, pumps, watches, and starts over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::connection::{self, Client, Connection, Event, Settings};
use super::{Delivery, HEADROOM, MqttLink, Open, Setup, topic};
use crate::client::Trust;
use crate::link::Backoff;
use crate::observe::LinkState;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A connection that held this long was a good one: the waits start over.
const GOOD: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A broker that was silent for so long owes the answer to a ping.
const QUIET: Duration = Duration::from_secs(6);
/// How often the watchdog looks.
const TICK: Duration = Duration::from_millis(300);
/// A broker that said nothing for so long, pings included, or acknowledged nothing while it owed
/// it, is given up.
const DEAD: Duration = Duration::from_secs(12);
/// Between tries to subscribe what the broker refused.
const RESUBSCRIBE: Duration = Duration::from_secs(5);
/// For the last messages before the connection is closed.
const FAREWELL: Duration = Duration::from_millis(500);
/// Messages of QoS 1 and 2 on their way at once; brokers take fewer and say so.
const INFLIGHT: u16 = 1000;
/// Room in the queue beyond one message for each call: for refusals.
const SPARE: usize = 256;
/// Messages sent with one write, and read before anything else is done.
const BATCH: usize = 128;

/// Keeps the link until it is stopped.
pub(super) async fn keep(link: MqttLink, setup: Setup) {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut tls = None;
    while !setup.stop.is_cancelled() {
        let started = Instant::now();
        let outcome = match settings(&setup, &mut tls) {
            Ok(settings) => session(&link, &setup, &settings).await,
            Err(why) => Err(why),
        };
        // Order matters: nothing is sent any more, then whoever waits is told.
        link.shared.open.store(None);
        link.shared.inbox.clear();
        let Err(why) = outcome else { break };
        link.shared.tell(LinkState::Down, &why);
        if started.elapsed() > GOOD {
            backoff.reset();
        }
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = setup.stop.cancelled() => {}
        }
    }
}

/// The authorities are read when they are first needed, and again until they can be read.
fn settings(setup: &Setup, tls: &mut Option<Arc<ClientConfig>>) -> Result<Settings, String> {
    if setup.bus.tls && tls.is_none() {
        let trust = Trust::load(setup.bus.ca.as_deref());
        *tls = Some(trust.map_err(|fault| fault.message.into_owned())?.config());
    }
    Ok(Settings {
        bus: setup.bus.clone(),
        client_id: setup.client_id.clone(),
        tls: tls.clone(),
        max_packet: u32::try_from(setup.limits.message + HEADROOM).unwrap_or(u32::MAX),
        // More than there can be calls, so that only what is stuck fills it.
        queue: setup.limits.in_flight + SPARE,
        inflight: INFLIGHT,
        batch: BATCH,
        keep_alive: KEEP_ALIVE,
        connect_timeout: setup.limits.handshake,
    })
}

/// What the pump saw, counted; the watchdog looks whether it still grows.
#[derive(Default)]
struct Vital {
    /// Packets from the broker.
    heard: AtomicU64,
    /// Messages of QoS 1 and 2 that the broker is done with.
    acknowledged: AtomicU64,
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
        filters: filters(link, setup),
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
            Ok(Event::Acknowledged) => {
                vital.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Event::Heard) => {}
            Ok(Event::Connected { max_packet }) => {
                if let Some(accepted) = accepted.take() {
                    // The guide waits for it, and nobody else.
                    accepted.send(max_packet).ok();
                }
            }
            Err(why) => return why,
        }
        vital.heard.fetch_add(1, Ordering::Relaxed);
    }
}

fn dispatch(link: &MqttLink, setup: &Setup, delivery: Delivery) {
    if link.shared.inbox.covers(delivery.topic()) {
        if let Err(stray) = link.shared.inbox.deliver(delivery) {
            setup.metrics.dropped("mqtt", stray.reason());
        }
        return;
    }
    match (&setup.calls, &setup.bus.calls) {
        (Some(calls), Some(prefix)) if topic::below(prefix, delivery.topic()).is_some() => {
            calls.deliver(link, delivery);
        }
        _ => setup.metrics.dropped("mqtt", "not_subscribed"),
    }
}

/// The inbox first, then the call topics.
fn filters(link: &MqttLink, setup: &Setup) -> Vec<String> {
    let mut filters = vec![link.shared.inbox.address().to_owned()];
    if let (Some(_), Some(prefix)) = (&setup.calls, &setup.bus.calls) {
        filters.push(format!("{prefix}/#"));
    }
    filters
}

/// Takes a connection through its life, beside the pump.
struct Guide<'a> {
    link: &'a MqttLink,
    setup: &'a Setup,
    vital: &'a Vital,
    filters: Vec<String>,
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
            tokio::select! {
                () = stop.cancelled() => {
                    open.client.disconnect(FAREWELL);
                    // The pump ends when all is sent, and with it this.
                    sleep(FAREWELL * 2).await;
                    return Ok(());
                }
                why = self.watch(&open, refusal.is_none()) => return Err(why),
                () = sleep(RESUBSCRIBE), if refusal.is_some() => {
                    refusal = self.subscribe(&open).await?;
                }
            }
        }
    }

    /// Subscribes everything; returns what the broker refused. Requests can be sent as soon as
    /// their replies come back, whatever becomes of the call topics.
    async fn subscribe(&self, open: &Arc<Open>) -> Result<Option<String>, String> {
        let asked = open
            .client
            .subscribe(&self.filters)
            .map_err(|_| "the connection ended")?;
        let patience = self.setup.limits.handshake;
        let answers = match timeout(patience, asked.wait()).await {
            Ok(Some(answers)) => answers,
            Ok(None) => return Err("the connection ended".into()),
            Err(_) => return Err("the broker does not answer a SUBSCRIBE".into()),
        };
        if matches!(answers.first(), Some(None)) {
            self.link.shared.open.store(Some(open.clone()));
        }
        let refused = self
            .filters
            .iter()
            .zip(answers)
            .find_map(|(filter, answer)| {
                let reason = answer?;
                Some(format!(
                    "the broker refuses the subscription of {filter}: {reason}"
                ))
            });
        Ok(refused)
    }

    fn show(&self, refusal: Option<&str>) {
        match refusal {
            None => self.link.shared.tell(LinkState::Up, ""),
            Some(why) => self.link.shared.tell(LinkState::Down, why),
        }
    }

    /// Ends when the broker is dead. While replies are awaited and nothing comes, or not even the
    /// answer to a ping, it asks the broker for a sign of life, so that a stalled one is shown
    /// within a second after that.
    async fn watch(&self, open: &Open, shown_up: bool) -> String {
        let Vital {
            heard,
            acknowledged,
        } = self.vital;
        let mut voice = Pulse::of(heard);
        let mut acks = Pulse::of(acknowledged);
        let mut asked = false;
        let mut stalled = false;
        loop {
            sleep(TICK).await;
            let owed = open.tracked.load(Ordering::Relaxed) > acks.count;
            if !acks.beats(acknowledged) && owed && acks.since.elapsed() > DEAD {
                return "the broker acknowledges nothing".into();
            }
            if !owed {
                acks.since = Instant::now();
            }
            if voice.beats(heard) {
                asked = false;
                if std::mem::take(&mut stalled) && shown_up {
                    self.show(None);
                }
            } else if voice.since.elapsed() > DEAD {
                return "the broker does not answer".into();
            } else if asked && !stalled {
                stalled = true;
                self.show(Some("the broker does not answer"));
            } else if !asked
                && (self.link.shared.inbox.is_waiting() || voice.since.elapsed() > QUIET)
            {
                // Subscribing again what is subscribed changes nothing and must be answered.
                open.client.subscribe(&self.filters[..1]).ok();
                asked = true;
            }
        }
    }
}

/// A count, and since when it has not grown.
struct Pulse {
    count: u64,
    since: Instant,
}

impl Pulse {
    fn of(counter: &AtomicU64) -> Pulse {
        Pulse {
            count: counter.load(Ordering::Relaxed),
            since: Instant::now(),
        }
    }

    /// Whether it has grown since the last look.
    fn beats(&mut self, counter: &AtomicU64) -> bool {
        let now = Pulse::of(counter);
        let beats = now.count != self.count;
        if beats {
            *self = now;
        }
        beats
    }
}

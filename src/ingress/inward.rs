//! From what a bus delivers to events of the channels whose rows take it in.

mod line;
mod turn;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use self::line::{Line, Place};
pub(super) use self::turn::Turn;
use crate::auth::{Caller, Verb};
use crate::call::{Fault, Payload, Via, is_traceparent, ordered_id};
use crate::channel::{Hub, Origin, Publish, Receipt, permit};
use crate::config::{Account, Address, BusCommon, Channel};
use crate::context::Context;
use crate::ingress::accept::Settled;
use crate::router::Reverse;
use crate::spool::Unkept;
use crate::store::{Letter, LetterKind};

/// The channels that one bus feeds.
pub(super) struct Inward {
    context: Context,
    origin: Origin,
    bus: Arc<str>,
    via: Via,
    rows: Vec<Row>,
}

struct Row {
    way_back: WayBack,
    /// What must be kept stands here, so that nothing overtakes what cannot be kept now.
    line: Line,
}

/// From an arrival to the channel that it is an event of.
enum WayBack {
    /// Through the template of a row.
    Template {
        /// AMQP: the exchange that it must have come through.
        exchange: Option<String>,
        names: Reverse,
    },
    /// One of scriptr's addresses. What comes there is published with the grants of this caller.
    Account(Account, Caller),
}

/// One message that came over a bus.
#[derive(Debug, Default)]
pub(super) struct Arrival<'a> {
    /// The topic or the routing key.
    pub(super) place: &'a str,
    /// AMQP: the exchange.
    pub(super) exchange: Option<&'a str>,
    pub(super) payload: Bytes,
    pub(super) content_type: Option<&'a str>,
    /// The group that sent it, if it was a callway.
    pub(super) group: Option<&'a str>,
    /// The id that another callway gave it.
    pub(super) id: Option<&'a str>,
    /// How often it has passed through callway.
    pub(super) hops: u32,
    pub(super) traceparent: Option<&'a str>,
    /// The broker had kept it.
    pub(super) retained: bool,
    /// It is acknowledged once it is kept; what is not is dropped if it cannot be kept at once.
    pub(super) must_keep: bool,
}

impl Inward {
    /// The rows that take something in from this bus; `None` if there are none.
    pub(super) fn new(context: &Context, bus: &BusCommon, via: Via) -> Option<Inward> {
        let rows = context
            .config
            .channels
            .iter()
            .filter_map(|channel| row(channel, &bus.name));
        let caller = bus.caller.as_deref();
        let caller = caller.and_then(|name| context.auth.by_name(name));
        let account = bus
            .scriptr
            .clone()
            .zip(caller)
            .map(|(account, caller)| Row {
                way_back: WayBack::Account(account, caller),
                line: Line::default(),
            });
        let rows: Vec<_> = rows.chain(account).collect();
        (!rows.is_empty()).then(|| Inward {
            context: context.clone(),
            origin: Origin::Bus {
                name: bus.name.clone(),
                via,
            },
            bus: bus.name.clone(),
            via,
            rows,
        })
    }

    /// Publishes an arrival on every channel that takes it; what it returns waits until that may be
    /// acknowledged. Publishing happens before this returns, so events keep the order of arrival;
    /// what cannot be kept now holds up what comes after it in the same row.
    pub(super) fn take(
        &self,
        arrival: Arrival<'_>,
    ) -> impl Future<Output = Settled> + Send + use<> {
        let rows = self.rows_for(&arrival).into_iter();
        let published = rows.map(|(row, channel)| {
            let event = self.event(channel, &arrival);
            self.publish(event, arrival.must_keep.then_some(&row.line))
        });
        let published: Vec<_> = published.collect();
        let taken = Taken {
            context: self.context.clone(),
            via: self.via,
            bus: self.bus.clone(),
            place: arrival.place.to_owned(),
            exchange: arrival.exchange.map(str::to_owned),
        };
        taken.settle(published)
    }

    fn publish(&self, event: Publish, line: Option<&Line>) -> Published {
        let hub = &self.context.hub;
        let (place, outcome) = match line {
            None => (None, Some(hub.publish(event.clone()))),
            Some(line) => {
                let (place, outcome) = line.arrive(|| attempt(hub, &event));
                (Some(place), outcome)
            }
        };
        Published {
            event,
            place,
            outcome,
        }
    }

    /// The rows that take an arrival, and for each the name of its channel.
    fn rows_for(&self, arrival: &Arrival<'_>) -> Vec<(&Row, String)> {
        let via = self.via.as_str();
        let metrics = &self.context.metrics;
        if arrival.group == Some(&*self.context.config.cluster.group) {
            // callway sent it itself, over this bus or over one that leads here.
            metrics.dropped(via, "own_origin");
            return Vec::new();
        }
        if arrival.hops > self.context.config.limits.hops {
            metrics.limit_reached("hops");
            metrics.dropped(via, "hops");
            return Vec::new();
        }
        let rows = self.rows.iter();
        let rows = rows.filter_map(|row| Some((row, row.way_back.channel_of(arrival)?)));
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            metrics.dropped(via, "not_subscribed");
        }
        rows
    }

    fn event(&self, channel: String, arrival: &Arrival<'_>) -> Publish {
        let payload = Payload::from_body(arrival.payload.clone(), arrival.content_type);
        // With a sealed id it is the copy of a message that callway has vouched for already.
        let seal = &self.context.seal;
        let id = arrival.id.and_then(|id| Uuid::try_parse(id).ok());
        let id = id.filter(|id| !seal.fits(*id, &channel, payload.bytes()));
        Publish {
            channel: channel.into(),
            payload,
            origin: self.origin.clone(),
            hops: arrival.hops,
            // One id for all tries to keep it.
            id: id.or_else(|| Some(ordered_id())),
            traceparent: arrival
                .traceparent
                .filter(|text| is_traceparent(text))
                .map(Arc::from),
            retained: arrival.retained,
        }
    }
}

fn row(channel: &Channel, bus: &Arc<str>) -> Option<Row> {
    if let Some(mqtt) = &channel.mqtt
        && mqtt.bus == *bus
        && mqtt.direction.takes_in()
    {
        // That there is a way back was checked with the configuration.
        let way_back = WayBack::Template {
            exchange: None,
            names: Reverse::new(&channel.pattern, &mqtt.topic, '/').ok()?,
        };
        return Some(Row {
            way_back,
            line: Line::default(),
        });
    }
    let amqp = channel.amqp.as_ref()?;
    if amqp.bus != *bus || !amqp.direction.takes_in() {
        return None;
    }
    let way_back = WayBack::Template {
        exchange: Some(amqp.exchange.clone()),
        names: Reverse::new(&channel.pattern, &amqp.routing_key, '.').ok()?,
    };
    Some(Row {
        way_back,
        line: Line::default(),
    })
}

impl WayBack {
    /// The channel, if it is one of this row and may be published to.
    fn channel_of(&self, arrival: &Arrival<'_>) -> Option<String> {
        match self {
            WayBack::Template { exchange, names } => {
                let fits = exchange.as_deref() == arrival.exchange;
                fits.then(|| names.name_of(arrival.place)).flatten()
            }
            WayBack::Account(account, caller) => {
                let address = match arrival.exchange {
                    None => account.of_topic(arrival.place),
                    Some(exchange) => account.of_key(exchange, arrival.place),
                };
                let Some(Address::Message(channel)) = address else {
                    return None;
                };
                if let Err(fault) = permit(caller, Verb::Publish, channel) {
                    tracing::info!(channel, %fault, "an event is not taken in");
                    return None;
                }
                Some(channel.to_owned())
            }
        }
    }
}

/// An event of an arrival.
struct Published {
    event: Publish,
    /// None if it need not be kept.
    place: Option<Place>,
    /// None if it follows one that cannot be kept now.
    outcome: Option<Result<Receipt, Fault>>,
}

/// An arrival whose events were published, or wait.
struct Taken {
    context: Context,
    via: Via,
    bus: Arc<str>,
    /// The topic or the routing key.
    place: String,
    exchange: Option<String>,
}

impl Taken {
    async fn settle(self, published: Vec<Published>) -> Settled {
        let settled = published.into_iter().map(|published| self.one(published));
        let settled = join_all(settled).await;
        match settled.contains(&Settled::Again) {
            true => Settled::Again,
            false => Settled::Done,
        }
    }

    /// Tries until the event is kept, or callway stops: then it is the bus's again.
    async fn one(&self, published: Published) -> Settled {
        let Published {
            event,
            mut place,
            mut outcome,
        } = published;
        loop {
            let held = match outcome {
                None => None,
                Some(outcome) => match self.judge(&event, outcome).await {
                    Ok(settled) => return settled,
                    Err(unkept) => Some(unkept),
                },
            };
            let Some(place) = &mut place else {
                self.context.metrics.dropped(self.via.as_str(), "not_kept");
                return Settled::Done;
            };
            if place.is_up() {
                place.failed();
            }
            // What follows is held up here from now on, so the spool need not do it.
            drop(held);
            let again = place.again(|| attempt(&self.context.hub, &event));
            outcome = tokio::select! {
                biased;
                () = self.context.drain.cancelled() => return Settled::Again,
                outcome = again => Some(outcome),
            };
        }
    }

    /// What becomes of the arrival; what is not kept is to be tried again.
    async fn judge(
        &self,
        event: &Publish,
        outcome: Result<Receipt, Fault>,
    ) -> Result<Settled, Unkept> {
        let kept = match outcome {
            Ok(receipt) => receipt.kept_or_held().await,
            Err(fault) => Err(fault.into()),
        };
        let Err(unkept) = kept else {
            return Ok(Settled::Done);
        };
        let fault = &unkept.fault;
        if fault.may_pass() {
            tracing::debug!(channel = %event.channel, %fault, "an event cannot be kept now");
            return Err(unkept);
        }
        self.bury(event, fault).await?;
        Ok(Settled::Done)
    }

    /// It can never be an event of its channel, so it is kept for people to look at.
    async fn bury(&self, event: &Publish, fault: &Fault) -> Result<(), Fault> {
        let (via, bus) = (self.via.as_str(), &*self.bus);
        self.context.metrics.dropped(via, "poison");
        tracing::warn!(via, bus, %fault, "a message that can be no event was put aside");
        let beside = json!({
            "bus": bus,
            "exchange": self.exchange,
            "channel": event.channel,
            "content_type": event.payload.content_type(),
            "event_id": event.id.map(|id| id.to_string()),
            "hops": event.hops,
            "traceparent": event.traceparent,
        });
        let (kind, body) = (LetterKind::Message, event.payload.bytes().clone());
        let letter = Letter::new(kind, &self.place, bus, fault, &beside, body);
        self.context.bury(letter).await
    }
}

/// Publishes; says as well whether the event may yet be kept.
fn attempt(hub: &Arc<Hub>, event: &Publish) -> (Result<Receipt, Fault>, bool) {
    let outcome = hub.publish(event.clone());
    let hopeful = !outcome.as_ref().is_err_and(Fault::may_pass);
    (outcome, hopeful)
}

//! From what a bus delivers to events of the channels whose rows take it in.

mod line;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use self::line::{Line, Turn};
use crate::call::{Fault, Payload, Via, is_traceparent, ordered_id};
use crate::channel::{Origin, Publish, Receipt};
use crate::config::Channel;
use crate::context::Context;
use crate::router::Reverse;
use crate::store::{Letter, LetterKind};

/// Between two tries to keep what could not be kept.
const PAUSE: Duration = Duration::from_secs(1);

/// The channels that one bus feeds.
pub(super) struct Inward {
    context: Context,
    origin: Origin,
    bus: Arc<str>,
    via: Via,
    rows: Vec<Row>,
    /// What cannot be kept now waits here, so that nothing overtakes it.
    line: Line,
}

struct Row {
    /// AMQP: the exchange that it must have come through.
    exchange: Option<String>,
    way_back: Reverse,
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
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is kept, delivered, or of no use: it is acknowledged.
    Done,
    /// callway stops before it could be kept: the bus is to deliver it again.
    Again,
}

impl Inward {
    /// The rows that take something in from this bus; `None` if there are none.
    pub(super) fn new(context: &Context, bus: &Arc<str>, via: Via) -> Option<Inward> {
        let rows: Vec<_> = context
            .config
            .channels
            .iter()
            .filter_map(|channel| row(channel, bus))
            .collect();
        (!rows.is_empty()).then(|| Inward {
            context: context.clone(),
            origin: Origin::Bus {
                name: bus.clone(),
                via,
            },
            bus: bus.clone(),
            via,
            rows,
            line: Line::default(),
        })
    }

    /// Publishes an arrival on every channel that takes it; what it returns waits until that may be
    /// acknowledged. Publishing happens before this returns, so events keep the order of arrival;
    /// what cannot be kept now holds up what comes after it.
    pub(super) fn take(
        &self,
        arrival: Arrival<'_>,
    ) -> impl Future<Output = Settled> + Send + use<> {
        let events = self.events(&arrival);
        let context = self.context.clone();
        let published: Vec<_> = events
            .into_iter()
            .map(|event| match self.line.is_empty() {
                true => match context.hub.publish(event.clone()) {
                    Err(fault) if fault.may_pass() => Published::Waits(event, self.line.join()),
                    outcome => Published::Now(event, outcome),
                },
                false => Published::Waits(event, self.line.join()),
            })
            .collect();
        let taken = Taken {
            context,
            line: self.line.clone(),
            via: self.via,
            bus: self.bus.clone(),
            place: arrival.place.to_owned(),
            exchange: arrival.exchange.map(str::to_owned),
        };
        taken.settle(published)
    }

    fn events(&self, arrival: &Arrival<'_>) -> Vec<Publish> {
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
        let channels = self.rows.iter().filter(|row| row.fits(arrival.exchange));
        let channels = channels.filter_map(|row| row.way_back.name_of(arrival.place));
        let events: Vec<_> = channels
            .map(|channel| self.event(channel, arrival))
            .collect();
        if events.is_empty() {
            metrics.dropped(via, "not_subscribed");
        }
        events
    }

    fn event(&self, channel: String, arrival: &Arrival<'_>) -> Publish {
        Publish {
            channel: channel.into(),
            payload: Payload::from_body(arrival.payload.clone(), arrival.content_type),
            origin: self.origin.clone(),
            hops: arrival.hops,
            // One id for all tries to keep it.
            id: arrival
                .id
                .and_then(|id| Uuid::try_parse(id).ok())
                .or_else(|| Some(ordered_id())),
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
        let way_back = Reverse::new(&channel.pattern, &mqtt.topic, '/').ok()?;
        return Some(Row {
            exchange: None,
            way_back,
        });
    }
    let amqp = channel.amqp.as_ref()?;
    if amqp.bus != *bus || !amqp.direction.takes_in() {
        return None;
    }
    Some(Row {
        exchange: Some(amqp.exchange.clone()),
        way_back: Reverse::new(&channel.pattern, &amqp.routing_key, '.').ok()?,
    })
}

impl Row {
    fn fits(&self, exchange: Option<&str>) -> bool {
        self.exchange.as_deref() == exchange
    }
}

/// An event of an arrival.
enum Published {
    /// It was published, or refused.
    Now(Publish, Result<Receipt, Fault>),
    /// It cannot be kept now, or follows one that cannot.
    Waits(Publish, Turn),
}

/// An arrival whose events were published, or wait.
struct Taken {
    context: Context,
    line: Line,
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

    async fn one(&self, published: Published) -> Settled {
        let (event, turn) = match published {
            Published::Waits(event, turn) => (event, turn),
            Published::Now(event, outcome) => {
                let kept = match outcome {
                    Ok(receipt) => receipt.kept().await.map(drop),
                    Err(fault) => Err(fault),
                };
                match self.judge(&event, kept).await {
                    Some(settled) => return settled,
                    None => (event, self.line.join()),
                }
            }
        };
        self.wait(event, turn).await
    }

    /// Tries until the event is kept, or callway stops: then it is the bus's again.
    async fn wait(&self, event: Publish, mut turn: Turn) -> Settled {
        let tried = async {
            turn.comes().await;
            loop {
                let kept = match self.context.hub.publish(event.clone()) {
                    Ok(receipt) => receipt.kept().await.map(drop),
                    Err(fault) => Err(fault),
                };
                if let Some(settled) = self.judge(&event, kept).await {
                    return settled;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            settled = tried => settled,
            () = self.context.drain.cancelled() => Settled::Again,
        }
    }

    /// What becomes of the arrival; `None` if it is to be tried again.
    async fn judge(&self, event: &Publish, kept: Result<(), Fault>) -> Option<Settled> {
        match kept {
            Ok(()) => Some(Settled::Done),
            Err(fault) if fault.may_pass() => {
                tracing::debug!(channel = %event.channel, %fault, "an event cannot be kept now");
                None
            }
            Err(fault) => {
                let buried = self.bury(event, &fault).await;
                buried.ok().map(|()| Settled::Done)
            }
        }
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

//! From what a bus delivers to events of the channels whose rows take it in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::call::{Fault, Kind, Payload, Via, is_traceparent};
use crate::channel::{Origin, Publish, Receipt};
use crate::config::Channel;
use crate::context::Context;
use crate::router::Reverse;
use crate::store::{Letter, LetterKind};

/// The wait before what cannot be kept now is given back: its bus would deliver it again at once.
const PAUSE: Duration = Duration::from_secs(1);

/// The channels that one bus feeds.
pub(super) struct Inward {
    context: Context,
    origin: Origin,
    via: Via,
    rows: Vec<Row>,
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
    /// It cannot be kept now: the bus is to deliver it again.
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
            via,
            rows,
        })
    }

    /// Publishes an arrival on every channel that takes it; what it returns waits until that may be
    /// acknowledged. Publishing happens before this returns, so events keep the order of arrival.
    pub(super) fn take(
        &self,
        arrival: Arrival<'_>,
    ) -> impl Future<Output = Settled> + Send + use<> {
        let published = self.publish(&arrival);
        let taken = Taken {
            context: self.context.clone(),
            via: self.via,
            place: arrival.place.to_owned(),
            payload: arrival.payload,
        };
        taken.settle(published)
    }

    fn publish(&self, arrival: &Arrival<'_>) -> Vec<Result<Receipt, Fault>> {
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
        let published: Vec<_> = channels
            .map(|channel| self.context.hub.publish(self.event(channel, arrival)))
            .collect();
        if published.is_empty() {
            metrics.dropped(via, "not_subscribed");
        }
        published
    }

    fn event(&self, channel: String, arrival: &Arrival<'_>) -> Publish {
        Publish {
            channel: channel.into(),
            payload: Payload::from_body(arrival.payload.clone(), arrival.content_type),
            origin: self.origin.clone(),
            hops: arrival.hops,
            id: arrival.id.and_then(|id| Uuid::try_parse(id).ok()),
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

/// An arrival whose events were published, or refused.
struct Taken {
    context: Context,
    via: Via,
    place: String,
    payload: Bytes,
}

impl Taken {
    async fn settle(self, published: Vec<Result<Receipt, Fault>>) -> Settled {
        let kept = published.into_iter().map(|published| async {
            match published {
                Ok(receipt) => receipt.kept().await.map(drop),
                Err(fault) => Err(fault),
            }
        });
        for kept in join_all(kept).await {
            let Err(fault) = kept else { continue };
            if may_pass(&fault) || self.bury(&fault).await.is_err() {
                tracing::debug!(%fault, "an event cannot be kept now");
                tokio::time::sleep(PAUSE).await;
                return Settled::Again;
            }
        }
        Settled::Done
    }

    /// It can never be an event of its channel, so it is kept for people to look at.
    async fn bury(&self, fault: &Fault) -> Result<(), Fault> {
        let via = self.via.as_str();
        self.context.metrics.dropped(via, "poison");
        tracing::warn!(via, %fault, "a message that can be no event was put aside");
        let (kind, body) = (LetterKind::Message, self.payload.clone());
        let letter = Letter::new(kind, &self.place, via, fault, &json!({}), body);
        self.context.bury(letter).await
    }
}

fn may_pass(fault: &Fault) -> bool {
    matches!(
        fault.kind,
        Kind::Unavailable | Kind::Overloaded | Kind::ShuttingDown | Kind::Internal
    )
}

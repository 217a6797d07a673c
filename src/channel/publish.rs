//! What it takes to publish, and what becomes of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Event, Keeping, Position};
use crate::auth::Caller;
use crate::call::{Fault, Kind, Payload, Via};
use crate::config::Channel;
use crate::spool::Unkept;

/// An event that is to be.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The channel's name, as it was written.
    pub channel: Arc<str>,
    /// The bare payload. It is settled leniently: none is refused for not being JSON.
    pub payload: Payload,
    /// Who publishes.
    pub origin: Origin,
    /// The id that it has already, where it comes from another callway.
    pub id: Option<Uuid>,
    /// How often it has passed through callway already.
    pub hops: u32,
    /// W3C Trace Context `traceparent`, well formed.
    pub traceparent: Option<Arc<str>>,
    /// Not new, but what a broker had kept: it becomes the channel's last event and nothing else.
    pub retained: bool,
}

/// Who publishes.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A client, or a script in its name.
    Client {
        /// Whose grants count.
        caller: Caller,
        /// Over which kind of transport.
        via: Via,
    },
    /// A bus, which its row lets in.
    Bus {
        /// The bus.
        name: Arc<str>,
        /// MQTT or AMQP.
        via: Via,
    },
}

impl Origin {
    /// Over which kind of transport.
    pub fn via(&self) -> Via {
        match self {
            Origin::Client { via, .. } | Origin::Bus { via, .. } => *via,
        }
    }
}

/// Hears of every accepted event before its subscribers do. It takes events to buses and calls.
pub trait Outward: Send + Sync {
    /// Takes an event on, in the order of the calls; must not block. `None` if it goes nowhere.
    ///
    /// A fault refuses the event: then nobody gets it.
    fn forward(
        &self,
        event: &Event,
        row: &Arc<Channel>,
        origin: &Origin,
    ) -> Result<Option<Forwarded>, Fault>;
}

/// What becomes of an event on its way out. Nothing waits for it but its publisher.
pub struct Forwarded {
    /// Done once it may be acknowledged: it is on disk, or every next hop has confirmed it.
    pub kept: BoxFuture<'static, Result<(), Unkept>>,
    /// True once every next hop has confirmed it. `None` if nobody will tell.
    pub delivered: Option<BoxFuture<'static, bool>>,
}

/// An event that was accepted but may not be acknowledged yet. Dropping it changes nothing.
#[must_use = "the event may only be acknowledged once it is kept"]
pub struct Receipt {
    pub(super) id: Uuid,
    pub(super) place: Place,
    pub(super) forwarded: Option<Forwarded>,
    /// Listeners that are to have it on disk first, and the last event that it became.
    pub(super) keeping: Vec<Keeping>,
    /// How long the disk may take.
    pub(super) patience: Duration,
}

/// Where an event stands in its channel.
pub(super) enum Place {
    /// Known at once; `None` for what only became the last event.
    Known(Option<Position>),
    /// Known once it is in the history.
    Coming(oneshot::Receiver<Result<Position, Fault>>),
}

/// An event that may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Names it.
    pub id: Uuid,
    /// Where it stands in its channel; `None` for what only became the last event.
    pub position: Option<Position>,
    /// Whether every next hop has confirmed it, as far as is known; else it waits on disk.
    pub delivered: bool,
}

impl Kept {
    /// `{"id","position"?}`.
    pub fn to_json(&self) -> String {
        let id = self.id.hyphenated();
        match self.position {
            Some(position) => format!(r#"{{"id":"{id}","position":"{position}"}}"#),
            None => format!(r#"{{"id":"{id}"}}"#),
        }
    }
}

impl Receipt {
    /// Names the event.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Whether it may be acknowledged at once: it is neither in a history, nor on its way out, nor
    /// has a listener to put it on disk.
    pub fn is_kept(&self) -> bool {
        matches!(self.place, Place::Known(_)) && self.forwarded.is_none() && self.keeping.is_empty()
    }

    /// Waits until the event may be acknowledged.
    pub async fn kept(self) -> Result<Kept, Fault> {
        self.delivered_within(Duration::ZERO).await
    }

    /// Waits until the event may be acknowledged, and then a little for its next hops.
    pub async fn delivered_within(self, bound: Duration) -> Result<Kept, Fault> {
        Ok(self.settled(bound).await?)
    }

    /// As [`Receipt::kept`], for whoever holds up what follows an event that was not kept.
    pub async fn kept_or_held(self) -> Result<Kept, Unkept> {
        self.settled(Duration::ZERO).await
    }

    async fn settled(self, bound: Duration) -> Result<Kept, Unkept> {
        let Receipt {
            id,
            place,
            forwarded,
            keeping: others,
            patience,
        } = self;
        let keeping = async {
            let position = match place {
                Place::Known(position) => position,
                Place::Coming(told) => {
                    Some(told.await.unwrap_or_else(|_| Err(Fault::shutting_down()))?)
                }
            };
            for keeping in others {
                // A listener that ended meanwhile has no use for it.
                keeping.await.unwrap_or(Ok(()))?;
            }
            let delivered = match forwarded {
                None => None,
                Some(forwarded) => {
                    forwarded.kept.await?;
                    Some(forwarded.delivered)
                }
            };
            Ok::<_, Unkept>((position, delivered))
        };
        let kept = timeout(patience, keeping).await;
        let (position, delivered) = kept.unwrap_or_else(|_| Err(too_late().into()))?;
        let delivered = match delivered {
            None => true,
            Some(None) => false,
            Some(Some(mut delivered)) => match (&mut delivered).now_or_never() {
                Some(delivered) => delivered,
                // A timer of no length still takes a millisecond.
                None if bound.is_zero() => false,
                None => timeout(bound, delivered).await.unwrap_or(false),
            },
        };
        Ok(Kept {
            id,
            position,
            delivered,
        })
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({})", self.id)
    }
}

fn too_late() -> Fault {
    Fault::new(
        Kind::Timeout,
        "the event was not on disk in time; it may still get there",
    )
}

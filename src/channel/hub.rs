//! The one way of an event: name, grant, row, limits; then out, into the history, to subscribers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::oneshot;

use super::ears::Ears;
use super::lasts::Lasts;
use super::live::Live;
use super::publish::Place;
use super::{Ear, Event, Manner, Origin, Outward, Position, Publish, Receipt};
use crate::auth::{Caller, Verb};
use crate::call::{Fault, Kind, ordered_id, random_bits, unix_ms};
use crate::config::{Channel, Config, Limits};
use crate::observe::Metrics;
use crate::router::{Pattern, Trie, check_channel};
use crate::store::{Store, StoreError};

/// All channels. Everything that publishes or subscribes goes through here.
pub struct Hub {
    rows: Trie<Arc<Channel>>,
    pub(super) live: Live,
    ears: Ears,
    pub(super) lasts: Lasts,
    /// Of channels with history. New whenever some of it may have been lost.
    pub(super) epoch: u64,
    pub(super) store: Store,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    outward: OnceLock<Arc<dyn Outward>>,
    draining: AtomicBool,
}

impl Hub {
    /// With the configured rows; nobody listens yet, and nothing leads out.
    pub fn new(
        config: &Config,
        store: &Store,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Hub>, StoreError> {
        let mut rows = Trie::default();
        let mut kinds = Vec::new();
        for row in &config.channels {
            kinds.push(format!("{} {}", row.pattern, row.history.is_some()));
            rows.insert(&row.pattern, row.clone());
        }
        kinds.sort_unstable();
        let bits = random_bits().unwrap_or_else(|| ordered_id().as_u128());
        Ok(Arc::new(Hub {
            rows,
            live: Live::new(bits as u64 >> 16),
            ears: Ears::default(),
            lasts: Lasts::new(store, metrics),
            // Where rows with and without history changed, some events may never have been kept.
            epoch: store.epoch(&kinds.join("\n"))?,
            store: store.clone(),
            limits: config.limits.clone(),
            metrics: metrics.clone(),
            outward: OnceLock::new(),
            draining: AtomicBool::new(false),
        }))
    }

    /// Sets what takes events to buses and calls. Once, before anything is published; a second
    /// one is ignored.
    pub fn set_outward(&self, outward: Arc<dyn Outward>) {
        self.outward.set(outward).unwrap_or_default();
    }

    /// From now on everything is refused with `shutting_down`.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The row that takes a channel's name.
    pub fn row(&self, channel: &str) -> Option<&Arc<Channel>> {
        self.rows.find(channel)
    }

    /// Accepts an event, or refuses it with what the one table of faults has for it. The order of
    /// the calls is the order of the events. Nothing here waits: see [`Receipt::kept`].
    pub fn publish(self: &Arc<Self>, publish: Publish) -> Result<Receipt, Fault> {
        self.count(publish, None)
    }

    /// The same for an event of an MQTT client, which carries more. With [`Manner::retain`] it
    /// becomes the last event of its channel as well; an empty one makes that forgotten.
    pub fn publish_as(
        self: &Arc<Self>,
        publish: Publish,
        manner: &Manner,
    ) -> Result<Receipt, Fault> {
        self.count(publish, Some(manner))
    }

    /// Tells this listener of the events of channels, from the next one on.
    pub fn listen(&self, pattern: &Pattern, ear: &Arc<dyn Ear>) {
        self.ears.add(pattern, ear);
    }

    /// Tells the listener of this number of them no more.
    pub fn stop_listening(&self, pattern: &Pattern, number: u64) {
        self.ears.remove(pattern, number);
    }

    fn count(
        self: &Arc<Self>,
        publish: Publish,
        manner: Option<&Manner>,
    ) -> Result<Receipt, Fault> {
        let via = publish.origin.via().as_str();
        let outcome = self.accept(publish, manner);
        let word = match &outcome {
            Ok(_) => "accepted",
            Err(fault) => fault.kind.as_str(),
        };
        self.metrics.event(via, word);
        outcome
    }

    fn accept(
        self: &Arc<Self>,
        publish: Publish,
        manner: Option<&Manner>,
    ) -> Result<Receipt, Fault> {
        let Publish {
            channel,
            mut payload,
            origin,
            id,
            hops,
            traceparent,
            retained,
        } = publish;
        let row = match &origin {
            Origin::Client { caller, .. } => self.admit(caller, Verb::Publish, &channel)?,
            Origin::Bus { .. } => self.find(&channel)?,
        };
        if payload.len() > self.limits.message {
            self.metrics.limit_reached("message");
            let (has, may) = (payload.len(), self.limits.message);
            let message = format!("the payload has {has} bytes, limits.message allows {may}");
            return Err(Fault::new(Kind::TooLarge, message));
        }
        if hops > self.limits.hops {
            self.metrics.limit_reached("hops");
            return Err(Fault::new(
                Kind::InvalidRequest,
                "this event has passed through callway too often; two ways lead to each other",
            ));
        }
        payload.settle_leniently(self.limits.json_depth);
        let event = Event {
            id: id.unwrap_or_else(ordered_id),
            channel,
            time: unix_ms(),
            payload,
            hops,
            traceparent,
        };
        let mut receipt = Receipt {
            id: event.id,
            place: Place::Known(None),
            forwarded: None,
            keeping: Vec::new(),
            patience: self.limits.timeout,
        };
        if retained {
            self.lasts.told(event);
            return Ok(receipt);
        }
        if let Some(outward) = self.outward.get() {
            receipt.forwarded = outward.forward(&event, row, &origin)?;
        }
        let last = match (manner, &origin) {
            (None, Origin::Client { caller, .. }) => self.lasts.refresh(&event, Some(caller)),
            (None, Origin::Bus { .. }) => self.lasts.refresh(&event, None),
            (Some(manner), Origin::Client { caller, .. }) if manner.retain => {
                Some(self.lasts.leave(&event, manner, caller))
            }
            // MQTT 5.0 §3.3.1.3: what is not to be retained changes nothing.
            (Some(_), _) => None,
        };
        receipt.keeping = self.ears.tell(&event, manner);
        receipt.keeping.extend(last);
        receipt.place = match row.history {
            None => Place::Known(Some(self.live.place(event))),
            Some(bounds) => Place::Coming(self.keep(event, bounds, origin.via().as_str())?),
        };
        Ok(receipt)
    }

    /// Puts an event into the history; its subscribers hear of it once it is there.
    fn keep(
        self: &Arc<Self>,
        event: Event,
        bounds: crate::config::History,
        via: &'static str,
    ) -> Result<oneshot::Receiver<Result<Position, Fault>>, Fault> {
        let (tell, told) = oneshot::channel();
        let hub = self.clone();
        let (channel, payload) = (event.channel.clone(), event.payload.clone());
        self.store.keep_event(
            channel,
            (event.id, event.time, payload),
            bounds,
            move |outcome| {
                let outcome = outcome.map(|seq| hub.position(seq));
                match &outcome {
                    Ok(position) => hub.live.tell(event, *position),
                    Err(_) => hub.metrics.dropped(via, "not_kept"),
                }
                // Its publisher may not wait for it.
                tell.send(outcome).unwrap_or_default();
            },
        )?;
        Ok(told)
    }

    /// Lets a caller at a channel: name, grant, row, drain, in this order.
    pub(super) fn admit(
        &self,
        caller: &Caller,
        verb: Verb,
        channel: &str,
    ) -> Result<&Arc<Channel>, Fault> {
        permit(caller, verb, channel)?;
        self.find(channel)
    }

    fn find(&self, channel: &str) -> Result<&Arc<Channel>, Fault> {
        check_channel(channel)?;
        let row = self.rows.find(channel).ok_or_else(|| {
            Fault::new(
                Kind::MethodNotFound,
                "no channel has this name; a [[channel]] row adds it",
            )
        })?;
        if self.draining.load(Ordering::Relaxed) {
            return Err(Fault::shutting_down());
        }
        Ok(row)
    }
}

/// Checks a channel's name and the caller's grant, which comes before everything else.
pub fn permit(caller: &Caller, verb: Verb, channel: &str) -> Result<(), Fault> {
    check_channel(channel)?;
    if caller.may(verb, channel) {
        return Ok(());
    }
    let key = verb.as_str();
    let message = format!(
        "no grant of this token allows to {key} {channel:?}; add it to the token's `{key}`"
    );
    Err(Fault::new(Kind::Forbidden, message))
}

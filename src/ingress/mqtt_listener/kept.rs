//! Sessions and their messages as the store keeps them, and back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::device::{Device, State};
use crate::call::unix_ms;
use crate::channel::Beside;
use crate::dialect::mqtt::{Message, Session, Subscription};
use crate::store::{KeptDevice, KeptMessage, RestoredDevice};

#[derive(Deserialize, Serialize)]
struct KeptSubscription {
    filter: String,
    qos: u8,
    no_local: bool,
    as_published: bool,
    identifier: Option<u32>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct KeptBeside {
    identifiers: Vec<u32>,
    #[serde(flatten)]
    beside: Beside,
}

/// A message that waits for its `seq`.
pub(super) struct Unplaced(KeptMessage);

impl Unplaced {
    pub(super) fn at(self, seq: u64) -> KeptMessage {
        KeptMessage { seq, ..self.0 }
    }
}

pub(super) fn message(message: &Message) -> Unplaced {
    let beside = KeptBeside {
        identifiers: message.identifiers.clone(),
        beside: message.beside.as_deref().cloned().unwrap_or_default(),
    };
    Unplaced(KeptMessage {
        seq: 0,
        topic: message.topic.to_string(),
        qos: message.qos,
        retain: message.retain,
        released: false,
        expires: message.expires,
        beside: json(&beside),
        payload: message.payload.clone(),
    })
}

/// A message of an earlier process, and whether it is to be released only.
pub(super) fn restored(kept: KeptMessage) -> (Message, bool) {
    let beside: KeptBeside = serde_json::from_str(&kept.beside).unwrap_or_default();
    let message = Message {
        seq: kept.seq,
        topic: kept.topic.into(),
        payload: kept.payload,
        qos: kept.qos,
        retain: kept.retain,
        identifiers: beside.identifiers,
        expires: kept.expires,
        stored: true,
        passing: false,
        beside: Some(Arc::new(beside.beside)),
    };
    (message, kept.released)
}

/// A session as it stands now; one without a connection has just lost it.
pub(super) fn device(device: &Device, state: &State) -> KeptDevice {
    let subscriptions = state.session.subscriptions().iter();
    let subscriptions = subscriptions.map(|(filter, subscription)| KeptSubscription {
        filter: filter.to_string(),
        qos: subscription.qos,
        no_local: subscription.no_local,
        as_published: subscription.as_published,
        identifier: subscription.identifier,
    });
    KeptDevice {
        number: device.number,
        caller: device.caller.name().to_owned(),
        client: device.client.to_string(),
        expiry: u32::try_from(state.expiry.as_secs()).unwrap_or(u32::MAX),
        gone: state.connection.is_none().then(unix_ms),
        subscriptions: json(&subscriptions.collect::<Vec<_>>()),
    }
}

/// Takes up what an earlier process kept of a session. Returns which messages are left out, because
/// the client may not have what is on their topics.
pub(super) fn restore(
    session: &mut Session,
    kept: RestoredDevice,
    may: impl Fn(&str) -> bool,
) -> Vec<u64> {
    let subscriptions: Vec<KeptSubscription> =
        serde_json::from_str(&kept.device.subscriptions).unwrap_or_default();
    for one in subscriptions {
        let subscription = Subscription {
            qos: one.qos,
            no_local: one.no_local,
            as_published: one.as_published,
            identifier: one.identifier,
        };
        session.subscribe(one.filter.into(), subscription);
    }
    for id in kept.received {
        session.received.settle(id);
    }
    let mut left_out = Vec::new();
    for (message, released) in kept.messages.into_iter().map(restored) {
        let may = may(&message.topic);
        if may || message.qos == 2 {
            // One of QoS 2 may have come already: it is released, so that its identifier is free.
            session.restore(message, released || !may);
        } else {
            left_out.push(message.seq);
        }
    }
    left_out
}

fn json(value: &impl Serialize) -> String {
    // Nothing here fails to be JSON.
    serde_json::to_string(value).unwrap_or_default()
}

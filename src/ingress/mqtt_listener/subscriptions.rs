//! What a SUBSCRIBE asks for: events within the grants, replies, or calls to answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::device::Device;
use super::events::RESERVED;
use crate::auth::Verb;
use crate::channel::Hub;
use crate::dialect::mqtt::topic::{self, below, channel_of, matches, patterns_of};
use crate::dialect::mqtt::{Reason, Subscription, Wish};
use crate::router::Pattern;

/// Subscriptions of one client, to events and to calls.
const MOST: usize = 1000;

/// Those to calls among them: each offer is put among all others again whenever one changes.
const MOST_SERVED: usize = 100;

/// What a client answers, by the filter that says so; with the QoS at which it is asked.
pub(super) type Served = BTreeMap<String, (Pattern, u8)>;

/// A subscription whose last events are still to be told, and its identifier.
pub(super) type Curious = (Wish, Option<u32>);

/// What came of a SUBSCRIBE.
#[derive(Default)]
pub(super) struct Answered {
    /// A QoS or a reason, for each filter.
    pub(super) codes: Vec<u8>,
    /// Subscriptions whose last events are to be told, behind the SUBACK.
    pub(super) curious: Vec<Curious>,
    /// What the client answers has changed.
    pub(super) serves: bool,
}

/// Subscribes, filter by filter.
pub(super) fn subscribe(
    device: &Arc<Device>,
    served: &mut Served,
    identifier: Option<u32>,
    wishes: Vec<Wish>,
) -> Answered {
    let mut answered = Answered::default();
    for wish in wishes {
        let code = match kind(device, &wish.filter) {
            Err(reason) => reason.code(),
            Ok(Kind::Serve(_)) if is_full(device, served, &wish.filter) => {
                Reason::QuotaExceeded.code()
            }
            Ok(Kind::Serve(pattern)) => match listen(device, &wish, identifier) {
                Some(_) => {
                    let qos = wish.qos.min(1);
                    served.insert(wish.filter, (pattern, qos));
                    answered.serves = true;
                    qos
                }
                None => Reason::QuotaExceeded.code(),
            },
            Ok(Kind::Listen) => match listen(device, &wish, identifier) {
                Some(is_new) => {
                    let qos = wish.qos;
                    if wish.handling == 0 || (wish.handling == 1 && is_new) {
                        answered.curious.push((wish, identifier));
                    }
                    qos
                }
                None => Reason::QuotaExceeded.code(),
            },
        };
        answered.codes.push(code);
    }
    device.listen();
    answered
}

/// Ends subscriptions. Returns a code for each filter, and whether the client answers less now.
pub(super) fn unsubscribe(
    device: &Arc<Device>,
    served: &mut Served,
    filters: &[String],
) -> (Vec<u8>, bool) {
    let mut serves = false;
    let mut state = device.lock();
    let codes = filters.iter().map(|filter| {
        let served = served.remove(filter).is_some();
        serves |= served;
        match state.session.unsubscribe(filter) {
            true => Reason::Success.code(),
            false => Reason::NoSubscriptionExisted.code(),
        }
    });
    let codes = codes.collect();
    drop(state);
    device.listen();
    (codes, serves)
}

/// What a client still answers that is back in its session, which has the subscriptions.
pub(super) fn resumed(device: &Device) -> Served {
    let state = device.lock();
    let subscriptions = state.session.subscriptions().iter();
    let served = subscriptions.filter_map(|(filter, subscription)| match kind(device, filter) {
        Ok(Kind::Serve(pattern)) => Some((filter.to_string(), (pattern, subscription.qos.min(1)))),
        _ => None,
    });
    served.collect()
}

enum Kind {
    /// To events, or to replies.
    Listen,
    /// To calls.
    Serve(Pattern),
}

/// What a filter asks for, if the client may have it.
fn kind(device: &Device, filter: &str) -> Result<Kind, Reason> {
    if filter.starts_with(topic::SHARED) {
        return Err(Reason::SharedSubscriptionsNotSupported);
    }
    let grants = &device.caller.token().grants;
    if let Some(methods) = below(topic::SERVE, filter) {
        // Of `a/#` the first pattern is that of what is below.
        let mut patterns = patterns_of(methods).into_iter();
        let pattern = patterns.next().ok_or(Reason::TopicFilterInvalid)?;
        return match grants.permit_all(Verb::Serve, &pattern) {
            true => Ok(Kind::Serve(pattern)),
            false => Err(Reason::NotAuthorized),
        };
    }
    // No name can be among them; so none is longer than names are either.
    if patterns_of(filter).is_empty() {
        return Err(Reason::TopicFilterInvalid);
    }
    if below(topic::REPLIES, filter).is_some() {
        return Ok(Kind::Listen);
    }
    if below(RESERVED, filter).is_some() {
        return Err(Reason::NotAuthorized);
    }
    match device
        .shared
        .names
        .touches(&channel_of(filter), &grants.subscribe)
    {
        true => Ok(Kind::Listen),
        false => Err(Reason::NotAuthorized),
    }
}

/// Whether a client answers so much that this would be too much.
fn is_full(device: &Device, served: &Served, filter: &str) -> bool {
    let full = served.len() >= MOST_SERVED && !served.contains_key(filter);
    if full {
        device.shared.metrics.limit_reached("device_subscriptions");
    }
    full
}

/// Says whether the subscription is new; `None` if there are too many.
fn listen(device: &Device, wish: &Wish, identifier: Option<u32>) -> Option<bool> {
    let mut state = device.lock();
    let subscriptions = state.session.subscriptions();
    if subscriptions.len() >= MOST && !subscriptions.contains_key(&*wish.filter) {
        device.shared.metrics.limit_reached("device_subscriptions");
        return None;
    }
    let subscription = Subscription {
        qos: wish.qos,
        no_local: wish.no_local,
        as_published: wish.as_published,
        identifier,
    };
    Some(
        state
            .session
            .subscribe(wish.filter.as_str().into(), subscription),
    )
}

/// Tells the last events that a subscription takes, if it is still there. The session is held
/// meanwhile, so that none of them comes behind one that is newer; and all of them find room.
pub(super) fn tell_lasts(hub: &Hub, device: &Device, (wish, identifier): &Curious) {
    let mut state = device.lock();
    if !state.session.subscriptions().contains_key(&*wish.filter) {
        return;
    }
    let mut told = std::collections::HashSet::new();
    let patterns = device.shared.names.patterns(&wish.filter);
    let lasts = patterns
        .iter()
        .flat_map(|pattern| hub.lasts(&device.caller, pattern));
    let lasts = lasts.filter(|last| told.insert(last.event.channel.clone()));
    let taken = |topic: &str| matches(&wish.filter, topic);
    for last in lasts {
        if let Some(message) = device.last(&last, taken, wish.qos, *identifier) {
            device.put(&mut state, message);
        }
    }
}

//! Events that a client publishes, its will among them.

use std::sync::Arc;

use super::device::Device;
use crate::call::{Fault, Payload, Via, beside, is_traceparent, unix_ms};
use crate::channel::{Hub, Manner, Origin, Publish, Receipt};
use crate::dialect::mqtt;

/// Topics that mean something else, or nothing.
pub(super) const RESERVED: &str = "callway";

/// Publishes on the channel that is meant by the topic, now, so that the order is the client's.
pub(super) fn publish(
    hub: &Arc<Hub>,
    device: &Device,
    message: mqtt::Publish,
) -> Result<Receipt, Fault> {
    let channel = match mqtt::topic::below(RESERVED, &message.topic) {
        // No name: the hub says what is wrong with it.
        Some(_) => "".into(),
        None => device.shared.names.channel(&message.topic),
    };
    let expires = |seconds: u32| unix_ms() + u64::from(seconds) * 1000;
    let beside = message.beside.map(|beside| Arc::new(*beside));
    let user = |name: &str| {
        let all = beside.as_deref().map_or(&[][..], |beside| &beside.user);
        let found = all.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let kind = beside
        .as_ref()
        .and_then(|beside| beside.content_type.as_deref());
    let traceparent = user("traceparent").filter(|text| is_traceparent(text));
    let event = Publish {
        channel: channel.as_ref().into(),
        payload: Payload::from_body(message.payload.clone(), kind),
        origin: Origin::Client {
            caller: device.caller.clone(),
            via: Via::Mqtt,
        },
        id: None,
        // What cannot be read counts as too often, so that no loop gets around the limit.
        hops: user(beside::HOPS).map_or(0, |hops| hops.parse().unwrap_or(u32::MAX)),
        traceparent: traceparent.map(Arc::from),
        retained: false,
    };
    let manner = Manner {
        from: device.number,
        qos: message.qos,
        empty: message.payload.is_empty(),
        retain: message.retain,
        expires: message.expiry.map(expires),
        beside,
    };
    hub.publish_as(event, &manner)
}

//! Events that a client publishes, its will among them.

use std::sync::Arc;

use super::device::Device;
use crate::call::{Fault, Kind, Payload, Via, beside, is_traceparent, unix_ms};
use crate::channel::{Beside, Hub, Manner, Origin, Publish, Receipt};
use crate::dialect::mqtt;

/// Topics that mean something else, or nothing.
pub(super) const RESERVED: &str = "callway";
/// Bytes in memory that the properties of an event may take.
const LARGEST_BESIDE: usize = 64 * 1024;
/// The user property that is a credential.
const TOKEN: &str = "token";

/// Publishes on the channel that is meant by the topic, now, so that the order is the client's.
pub(super) fn publish(
    hub: &Arc<Hub>,
    device: &Device,
    mut message: mqtt::Publish,
) -> Result<Receipt, Fault> {
    if let Some(beside) = &mut message.beside {
        // It may be there for a bus's sake; subscribers and the disk are not to see it.
        leave_out_token(beside);
        if beside.size() > LARGEST_BESIDE {
            let why = "the properties of this message are too large";
            return Err(Fault::new(Kind::TooLarge, why));
        }
    }
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

/// Leaves out the token that a client may send beside any message: it is for nobody else, and not
/// for the disk.
pub(super) fn leave_out_token(beside: &mut Beside) {
    beside.user.retain(|(name, _)| name != TOKEN);
}

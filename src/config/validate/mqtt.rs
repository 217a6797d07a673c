//! Options of `mqtt` endpoints, and what may stand beside one.

use std::time::Duration;

use super::{Reading, count, duration};
use crate::config::node::Node;
use crate::config::{Endpoint, MqttOptions};

const SESSION_EXPIRY: Duration = Duration::from_secs(3600);
const QUEUE: usize = 1000;

pub(super) fn options(node: &Node) -> MqttOptions {
    MqttOptions {
        session_expiry: duration(node, "session_expiry").unwrap_or(SESSION_EXPIRY),
        queue: count(node, "queue").unwrap_or(QUEUE),
    }
}

/// Nothing tells MQTT from HTTP on one address before its first byte, so MQTT without WebSocket is
/// alone there.
pub(super) fn refuse_company(reading: &mut Reading<'_>, endpoints: &[(Endpoint, &Node)]) {
    let plain = endpoints
        .iter()
        .find(|(endpoint, _)| endpoint.path.is_empty());
    if let Some((_, node)) = plain.filter(|_| endpoints.len() > 1) {
        reading.problem(
            node,
            "mqtt without a path is alone on its listener; give it a [[listen]] of its own, or a \
             path to be MQTT over WebSocket",
        );
    }
}

//! Options of `mqtt` endpoints, and what may stand beside one.

use std::time::Duration;

use super::listen::anonymous;
use super::{Reading, count, duration};
use crate::config::node::Node;
use crate::config::{Account, Endpoint, MqttOptions};

const SESSION_EXPIRY: Duration = Duration::from_secs(3600);
const QUEUE: usize = 1000;

/// In seconds: else a client that is gone would stay forever.
const KEEP_ALIVE: u16 = 1200;

pub(super) fn options(reading: &mut Reading<'_>, node: &Node) -> MqttOptions {
    MqttOptions {
        anonymous: anonymous(reading, node),
        scriptr: account(reading, node),
        keep_alive: keep_alive(reading, node).unwrap_or(KEEP_ALIVE),
        session_expiry: duration(node, "session_expiry").unwrap_or(SESSION_EXPIRY),
        queue: count(node, "queue").unwrap_or(QUEUE),
    }
}

fn account(reading: &mut Reading<'_>, node: &Node) -> Option<Account> {
    let place = node.get("scriptr")?;
    reading.keep(place, Account::parse(place.text()?))
}

fn keep_alive(reading: &mut Reading<'_>, node: &Node) -> Option<u16> {
    let seconds = duration(node, "keep_alive")?.as_secs();
    let seconds = u16::try_from(seconds).ok().filter(|seconds| *seconds > 0);
    if seconds.is_none() {
        let place = node.get("keep_alive").unwrap_or(node);
        reading.problem(place, "`keep_alive` is between 1 and 65535 seconds");
    }
    seconds
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

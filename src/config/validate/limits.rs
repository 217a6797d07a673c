//! `[limits]`.

use std::time::Duration;

use super::{Reading, count, duration, size, text};
use crate::config::{Limits, values};

/// Below it the spool could not hold one message of the usual limit.
const SMALLEST_SPOOL: usize = 1024 * 1024;

pub(super) fn limits(reading: &mut Reading<'_>) -> Limits {
    let mut limits = Limits::default();
    let root = reading.root;
    let Some(node) = root.get("limits") else {
        return limits;
    };
    for (key, field) in [
        ("timeout", &mut limits.timeout),
        ("max_timeout", &mut limits.max_timeout),
        ("handshake", &mut limits.handshake),
        ("ping", &mut limits.ping),
        ("pong", &mut limits.pong),
        ("script_time", &mut limits.script_time),
        ("drain", &mut limits.drain),
        ("spool_age", &mut limits.spool_age),
        ("key_window", &mut limits.key_window),
    ] {
        if let Some(value) = duration(node, key) {
            *field = value;
            let zero_is_fine = key == "drain";
            if value == Duration::ZERO && !zero_is_fine {
                let place = node.get(key).unwrap_or(node);
                reading.problem(place, format!("`{key}` must be longer than nothing"));
            }
        }
    }
    for (key, field) in [
        ("message", &mut limits.message),
        ("params", &mut limits.params),
        ("send_queue", &mut limits.send_queue),
        ("script_memory", &mut limits.script_memory),
    ] {
        if let Some(value) = size(node, key) {
            *field = value;
            if value == 0 {
                reading.problem(
                    node.get(key).unwrap_or(node),
                    format!("`{key}` must be more than 0"),
                );
            }
        }
    }
    if let Some(bytes) = size(node, "spool_size") {
        limits.spool_size = bytes as u64;
        if bytes < SMALLEST_SPOOL {
            let place = node.get("spool_size").unwrap_or(node);
            reading.problem(place, "`spool_size` must be at least 1MiB");
        }
    }
    for (key, field) in [
        ("json_depth", &mut limits.json_depth),
        ("batch", &mut limits.batch),
        ("connections", &mut limits.connections),
        ("in_flight", &mut limits.in_flight),
        ("dead_count", &mut limits.dead_count),
        ("accounts", &mut limits.accounts),
        (
            "in_flight_per_connection",
            &mut limits.in_flight_per_connection,
        ),
    ] {
        *field = count(node, key).unwrap_or(*field);
    }
    let small = |key| count(node, key).and_then(|number| u32::try_from(number).ok());
    limits.script_calls = small("script_calls").unwrap_or(limits.script_calls);
    limits.hops = small("hops").unwrap_or(limits.hops);
    if let Some(rate) = text(node, "auth_failures").and_then(|text| values::rate(text).ok()) {
        limits.auth_failures = rate;
    }
    if limits.timeout > limits.max_timeout {
        let place = node
            .get("timeout")
            .or(node.get("max_timeout"))
            .unwrap_or(node);
        reading.problem(place, "`timeout` is longer than `max_timeout`");
    }
    limits
}

//! The keys of `[limits]`.

use crate::config::shape::Shape::{Duration, Integer, Rate, Size};
use crate::config::shape::{Key, key};

pub(super) const LIMITS: &[Key] = &[
    key("timeout", Duration, "of a call without one; default 30s"),
    key("max_timeout", Duration, "of any call; default 5m"),
    key(
        "handshake",
        Duration,
        "for TLS, upgrade, first message; default 5s",
    ),
    key("message", Size, "of one message or body; default 256KiB"),
    key("params", Size, "of params; default 256KiB"),
    key(
        "json_depth",
        Integer(1, 10_000),
        "levels of arrays and objects; default 128",
    ),
    key(
        "batch",
        Integer(1, 100_000),
        "requests in one batch; default 100",
    ),
    key(
        "connections",
        Integer(1, 10_000_000),
        "open client connections; default 10000",
    ),
    key(
        "in_flight",
        Integer(1, 10_000_000),
        "calls under way; default 10000",
    ),
    key(
        "in_flight_per_connection",
        Integer(1, 1_000_000),
        "the same on one connection; default 64",
    ),
    key(
        "send_queue",
        Size,
        "unsent bytes of one connection; default 256KiB",
    ),
    key("ping", Duration, "between WebSocket pings; default 25s"),
    key("pong", Duration, "how long a pong may take; default 10s"),
    key(
        "script_time",
        Duration,
        "CPU time of one script call; default 1s",
    ),
    key(
        "script_memory",
        Size,
        "memory of one script call; default 32MiB",
    ),
    key(
        "script_calls",
        Integer(0, 1_000_000),
        "calls that one script call may make; default 100",
    ),
    key(
        "hops",
        Integer(1, 1_000),
        "passes of one request through callway; default 8",
    ),
    key(
        "spool_size",
        Size,
        "events and one-way calls on disk that wait; default 1GiB",
    ),
    key(
        "spool_age",
        Duration,
        "how long they may wait, then they are dead letters; default 7d",
    ),
    key(
        "dead_count",
        Integer(1, 10_000_000),
        "dead letters that are kept; default 10000",
    ),
    key(
        "key_window",
        Duration,
        "how long outcomes of calls with a key are remembered; default 10m",
    ),
    key(
        "accounts",
        Integer(1, 10_000_000),
        "accounts made by clients of action endpoints; default 10000",
    ),
    key(
        "auth_failures",
        Rate,
        "bad tries per source before they are slowed; default 20/m",
    ),
    key(
        "drain",
        Duration,
        "how long calls may go on after SIGTERM; default 10s",
    ),
];

//! The keys of `[[channel]]`.

use crate::config::shape::Shape::{Choice, Duration, Integer, Size, Table, Text};
use crate::config::shape::{Key, key, required};

pub(super) const CHANNEL: &[Key] = &[
    required(
        "name",
        Text,
        "the channels it is about: literal, {name}, {name...} at the end",
    ),
    key(
        "mqtt",
        Table(CHANNEL_MQTT),
        "the MQTT topic with the same events",
    ),
    key(
        "amqp",
        Table(CHANNEL_AMQP),
        "the AMQP exchange with the same events",
    ),
    key(
        "history",
        Table(HISTORY),
        "how much of the past is kept; nothing without",
    ),
    key("call", Text, "the method that is called with each event"),
    key("call_as", Text, "the token row that calls it"),
    key("description", Text, "said by callway routes"),
];

const CHANNEL_MQTT: &[Key] = &[
    required("bus", Text, "the name of an MQTT bus"),
    required("topic", Text, "the topic"),
    key("qos", Integer(0, 2), "default 1"),
    required(
        "direction",
        Choice(&["in", "out", "both"]),
        "which way events go",
    ),
];

const CHANNEL_AMQP: &[Key] = &[
    required("bus", Text, "the name of an AMQP bus"),
    required("exchange", Text, "the exchange"),
    required("routing_key", Text, "the routing key"),
    required(
        "direction",
        Choice(&["in", "out", "both"]),
        "which way events go",
    ),
    key(
        "declare",
        Choice(&["topic", "direct", "fanout"]),
        "declare the exchange instead of checking it",
    ),
];

const HISTORY: &[Key] = &[
    key("count", Integer(1, 10_000_000), "events; default 100"),
    key("age", Duration, "how old they may get; default 7d"),
    key("bytes", Size, "of their payloads together; default 10MiB"),
];

//! The keys of `[[route]]`.

use crate::config::shape::Shape::{
    Anything, Bool, Choice, Duration, Integer, Rate, Size, Table, Text,
};
use crate::config::shape::{Key, key, required};

pub(super) const ROUTE: &[Key] = &[
    required(
        "method",
        Text,
        "the methods it takes: literal, {name}, {name...} at the end",
    ),
    key("script", Text, "target: a script below scripts.directory"),
    key(
        "mqtt",
        Table(ROUTE_MQTT),
        "target: a responder on an MQTT bus",
    ),
    key(
        "amqp",
        Table(ROUTE_AMQP),
        "target: a responder on an AMQP bus",
    ),
    key(
        "worker",
        Table(&[]),
        "target: a connected client that offered the method",
    ),
    key("http", Table(ROUTE_HTTP), "target: an HTTP service"),
    key("timeout", Duration, "how long a call may take at most"),
    key(
        "retry",
        Table(RETRY),
        "trying again what was not handed over",
    ),
    key("rate", Rate, "calls per caller"),
    key(
        "concurrency",
        Integer(1, 1_000_000),
        "calls under way at once",
    ),
    key(
        "queue",
        Integer(0, 1_000_000),
        "calls that may wait for a place; default 0",
    ),
    key("max_params", Size, "size of params; default limits.params"),
    key("schema", Table(SCHEMA), "JSON Schemas"),
    key("description", Text, "said by callway routes"),
    key("get", Bool, "callable by HTTP GET; default false"),
    key(
        "one_way",
        Bool,
        "calls are kept on disk and carried out later, at least once; default false",
    ),
];

const ROUTE_MQTT: &[Key] = &[
    required("bus", Text, "the name of an MQTT bus"),
    required("topic", Text, "the topic of requests"),
    key("qos", Integer(0, 2), "default 0; 1 buys no_responder"),
    key(
        "format",
        Choice(&["params", "jsonrpc"]),
        "default params; MQTT 3.1.1 has jsonrpc only",
    ),
];

const ROUTE_AMQP: &[Key] = &[
    required("bus", Text, "the name of an AMQP bus"),
    key("exchange", Text, "default \"\", the default exchange"),
    required("routing_key", Text, "the routing key of requests"),
    key(
        "declare",
        Choice(&["topic", "direct", "fanout"]),
        "declare the exchange instead of checking it",
    ),
];

const ROUTE_HTTP: &[Key] = &[
    required("url", Text, "the URL; captures are percent-encoded"),
    key(
        "verb",
        Choice(&["GET", "POST", "PUT", "PATCH", "DELETE"]),
        "default POST",
    ),
];

const RETRY: &[Key] = &[
    required("attempts", Integer(1, 100), "tries altogether"),
    key(
        "backoff",
        Duration,
        "wait before the second try, doubling; default 100ms",
    ),
];

const SCHEMA: &[Key] = &[
    key("params", Anything, "for params"),
    key("result", Anything, "for the result"),
];

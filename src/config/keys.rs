//! Every key of the configuration: the one description behind check, schema and reference.

use super::shape::Shape::{
    Anything, Bool, Choice, Duration, Integer, Named, Rate, Rows, Secret, Size, Table, Text, Texts,
};
use super::shape::{Key, key, required};

/// The top of a file.
pub const ROOT: &[Key] = &[
    key(
        "listen",
        Rows(LISTEN),
        "where clients connect by WebSocket and HTTP",
    ),
    key(
        "admin",
        Table(ADMIN),
        "health, metrics and the commands' socket",
    ),
    key(
        "cluster",
        Table(CLUSTER),
        "who this process is among others",
    ),
    key(
        "scripts",
        Table(SCRIPTS),
        "where scripts live and what they may reach",
    ),
    key(
        "bus",
        Named(BUS),
        "the message brokers, each under its own name: [bus.NAME]",
    ),
    key("token", Rows(TOKEN), "who may call, and what"),
    key(
        "route",
        Rows(ROUTE),
        "the routing table: methods and where they go",
    ),
    key(
        "channel",
        Rows(CHANNEL),
        "named streams of events, and where they come from and go to",
    ),
    key("store", Table(STORE), "where what must survive is kept"),
    key("limits", Table(LIMITS), "the bounds of everything"),
    key("log", Table(LOG), "what is logged, and how"),
];

const LISTEN: &[Key] = &[
    required(
        "address",
        Text,
        "address and port; port 0 lets the system choose",
    ),
    key(
        "plaintext",
        Bool,
        "true allows a non-loopback address without tls",
    ),
    key("tls", Table(TLS), "certificate and key; plain text without"),
    key(
        "allowed_origins",
        Texts,
        "origins that browsers may come from; default [\"*\"]",
    ),
    key("public_url", Text, "what clients are told to connect to"),
    key(
        "trusted_proxies",
        Texts,
        "addresses of proxies whose X-Forwarded-For is believed",
    ),
    required(
        "endpoint",
        Rows(ENDPOINT),
        "paths and the dialects spoken there",
    ),
];

const TLS: &[Key] = &[
    required("certificate", Text, "PEM file with the certificate chain"),
    required("key", Text, "PEM file with the private key"),
    key(
        "client_ca",
        Text,
        "PEM file with the authorities of client certificates",
    ),
    key(
        "client_auth",
        Choice(&["optional", "required"]),
        "whether clients must show a certificate",
    ),
];

const ENDPOINT: &[Key] = &[
    required(
        "path",
        Text,
        "a path; everything below it belongs to the endpoint",
    ),
    required("dialect", Text, "scriptr, jsonrpc or http"),
    key(
        "anonymous",
        Text,
        "scriptr: the token row of clients without a token",
    ),
    key(
        "legacy_envelope",
        Bool,
        "scriptr: adds the older reply shape; default false",
    ),
    key(
        "ordered",
        Bool,
        "scriptr: answers one socket's calls in their order; default true",
    ),
    key(
        "methods",
        Text,
        "scriptr: where methods go in the routing table; default \"{path...}\"",
    ),
];

const ADMIN: &[Key] = &[
    key(
        "address",
        Text,
        "address of /healthz, /readyz, /metrics and /api; default 127.0.0.1:9464, \"\" for none",
    ),
    key(
        "socket",
        Text,
        "socket that commands use; default /run/callway/admin.sock, \"\" for none",
    ),
];

const STORE: &[Key] = &[key(
    "url",
    Text,
    "sqlite:PATH; default callway.db in $STATE_DIRECTORY, else in a directory beside the file",
)];

const CLUSTER: &[Key] = &[
    key(
        "instance",
        Text,
        "unique and stable name of this process; default the host name",
    ),
    key(
        "group",
        Text,
        "name of the group of processes; default \"callway\"",
    ),
];

const SCRIPTS: &[Key] = &[
    key(
        "directory",
        Text,
        "where script paths begin; default \"scripts\" beside the file",
    ),
    key(
        "allow_urls",
        Texts,
        "what http.request in scripts may reach; default nothing",
    ),
];

const BUS: &[Key] = &[
    required(
        "url",
        Text,
        "mqtt://, mqtts://, amqp:// or amqps://, with the user name",
    ),
    key(
        "password",
        Secret,
        "the password, as \"${NAME}\" from the environment",
    ),
    key(
        "password_file",
        Text,
        "file that holds the password; ${CREDENTIALS_DIRECTORY}/name works",
    ),
    key(
        "ca",
        Text,
        "PEM file with the authorities of the broker's certificate",
    ),
    key(
        "protocol",
        Integer(4, 5),
        "MQTT: 5, or 4 for MQTT 3.1.1; default 5",
    ),
    key(
        "calls",
        Text,
        "MQTT: topic prefix of calls; AMQP: queue of calls; \"\" for none",
    ),
    key(
        "reply_topics",
        Texts,
        "topic filters that replies may be sent to",
    ),
    key(
        "reply_queues",
        Texts,
        "AMQP: queues that replies may be sent to; * at the end",
    ),
    key(
        "prefetch",
        Integer(1, 65_535),
        "AMQP: unacknowledged deliveries at once; default 256",
    ),
    key(
        "caller",
        Text,
        "token row that calls without a credential act as",
    ),
    key(
        "identity",
        Choice(&["token", "user_id", "none"]),
        "which credential counts; default token",
    ),
];

const TOKEN: &[Key] = &[
    required("name", Text, "names the caller"),
    required(
        "sha256",
        Text,
        "SHA-256 of the token in hexadecimal: printf %s TOKEN | sha256sum",
    ),
    key("call", Texts, "methods it may call"),
    key("serve", Texts, "methods it may answer"),
    key("publish", Texts, "channels it may publish to"),
    key("subscribe", Texts, "channels it may subscribe to"),
    key(
        "admin",
        Bool,
        "may use the administration interface; default false",
    ),
];

const ROUTE: &[Key] = &[
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

const CHANNEL: &[Key] = &[
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

const LIMITS: &[Key] = &[
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

const LOG: &[Key] = &[
    key(
        "level",
        Text,
        "error, warn, info, debug or trace; default info",
    ),
    key(
        "format",
        Choice(&["text", "json", "journald"]),
        "default text",
    ),
];

//! Every key of the configuration: the one description behind check, schema and reference.

mod channel;
mod flow;
mod limits;
mod route;
mod service;
mod talkee;

use self::channel::CHANNEL;
use self::limits::LIMITS;
use self::route::ROUTE;
use self::service::SERVICE;
use self::talkee::TALKEE_USER;
use super::shape::Shape::{
    Bool, Choice, Duration, Integer, Named, Rows, Secret, Table, Text, Texts,
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
    key(
        "service",
        Rows(SERVICE),
        "long-running Lua scripts that react to events, sockets and calls",
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
    key(
        "path",
        Text,
        "a path; everything below it belongs to the endpoint. mqtt without it is plain MQTT, alone \
         on its listener",
    ),
    required(
        "dialect",
        Text,
        "scriptr, jsonrpc, http, action, flow, talkee or mqtt",
    ),
    key(
        "anonymous",
        Text,
        "scriptr, mqtt: the token row of clients without a token",
    ),
    key(
        "scriptr",
        Text,
        "mqtt: the account whose addresses of scriptr are topics too",
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
        "where methods go in the routing table; default \"{path...}\", action: \"game/{action}\"",
    ),
    key(
        "api_key",
        Secret,
        "action: what who registers must know, as \"${NAME}\" from the environment",
    ),
    key(
        "api_key_file",
        Text,
        "action: file that holds it; without a key nobody can register",
    ),
    key(
        "token_idle",
        Duration,
        "action: how long a token lasts unused; default 30m",
    ),
    key(
        "token_lifetime",
        Duration,
        "action: how long a token lasts at most; default 7d",
    ),
    key(
        "answer_unknown",
        Bool,
        "action: answers an error to actions that no route takes; default false",
    ),
    key(
        "account",
        Bool,
        "action: tells responders the account's name and prompt; default false",
    ),
    key("clients", Rows(flow::CLIENT), "flow: who may connect"),
    key(
        "channel",
        Text,
        "flow: the channel that a thread is; default \"flow/{threadId}\"; talkee: a room, \"talkee/{site_id}/{slug}\"",
    ),
    key(
        "call",
        Text,
        "flow: the method that messages are put to; default \"flow/message\"",
    ),
    key(
        "nonce",
        Bool,
        "flow: a thread has a secret that its messages need; default false",
    ),
    key(
        "idle",
        Duration,
        "flow: how long a socket may be silent; default 50s",
    ),
    key(
        "webhook",
        Table(flow::WEBHOOK),
        "flow: where replies are posted to",
    ),
    key(
        "messages",
        Choice(&["object", "array"]),
        "talkee: how lists of messages look, {ts, data} or a bare array; default \"object\"",
    ),
    key(
        "anonymous_read",
        Bool,
        "talkee: whether messages may be read without a token; default false",
    ),
    key(
        "jwt_secret_file",
        Text,
        "talkee: file with the secret that signs the tokens of logins",
    ),
    key(
        "users",
        Rows(TALKEE_USER),
        "talkee: people that log in, and the token rows that they act as",
    ),
    key(
        "keep_alive",
        Duration,
        "mqtt: the longest time between two packets that a client is left; default 20m",
    ),
    key(
        "session_expiry",
        Duration,
        "mqtt: how long sessions outlive their connection at most; default 1h",
    ),
    key(
        "queue",
        Integer(1, 65_535),
        "mqtt: messages that may wait for one client; default 1000",
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
        "scriptr",
        Text,
        "public account name below which scriptr's addresses are served",
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
    key(
        "certificates",
        Texts,
        "SHA-256 fingerprints of client certificates that stand for it: openssl x509 -noout \
         -fingerprint -sha256",
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

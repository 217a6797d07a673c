//! The configuration: validated, complete, and without an `Option` that "must be Some".

mod keys;
mod load;
mod mask;
mod node;
mod report;
mod schema;
mod secret;
mod shape;
mod validate;
mod values;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

pub use self::load::{Environment, LoadError, load, parse};
pub(crate) use self::mask::mask_urls;
pub use self::report::{Errors, Problem};
pub use self::schema::schema;
use crate::auth::{Secret, Token};
use crate::router::{Pattern, Template};

#[cfg(test)]
mod tests;

/// The commented default: what `callway config default` prints. Valid as it is.
pub const DEFAULT: &str = include_str!("../../config/callway.toml");

/// Everything that `callway run` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// Health, metrics and the admin socket.
    pub admin: Admin,
    /// Who this process is among others.
    pub cluster: Cluster,
    /// Where scripts live and what they may reach.
    pub scripts: Scripts,
    /// The brokers, by name.
    pub buses: Vec<Bus>,
    /// Who may call.
    pub tokens: Vec<Token>,
    /// The routing table.
    pub routes: Vec<Arc<Route>>,
    /// The bounds of everything.
    pub limits: Limits,
    /// What is logged and how.
    pub log: Log,
}

/// A `[[listen]]` row.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where to listen; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Certificate and key; plain text without.
    pub tls: Option<Tls>,
    /// Origins that browsers may come from; `None` allows every one.
    pub allowed_origins: Option<Vec<String>>,
    /// What clients are told to connect to.
    pub public_url: Option<Url>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Paths and the dialects spoken there.
    pub endpoints: Vec<Endpoint>,
}

/// `tls = { … }` of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the authorities of client certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show a certificate, where `client_ca` is set.
    pub client_required: bool,
}

/// A `[[listen.endpoint]]` row.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// A prefix of whole segments, beginning with `/`, without a trailing one except `/` itself.
    pub path: String,
    /// What is spoken there.
    pub dialect: Dialect,
}

/// The dialect of an endpoint with its options.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// scriptr.io's WebSocket and HTTP shapes.
    Scriptr(Arc<ScriptrOptions>),
    /// JSON-RPC 2.0 over WebSocket.
    Jsonrpc,
    /// One URL per method.
    Http,
}

/// Options of a `scriptr` endpoint.
#[derive(Clone, Debug)]
pub struct ScriptrOptions {
    /// The token row that clients without a token act as.
    pub anonymous: Option<Arc<str>>,
    /// Adds the older reply shape beside the documented one.
    pub legacy_envelope: bool,
    /// Answers the calls of one socket in the order in which they came.
    pub ordered: bool,
    /// Where a client's method goes in the routing table; has the one capture `{path}`.
    pub methods: Template,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `/healthz`, `/readyz`, `/metrics`.
    pub address: Option<SocketAddr>,
}

/// `[cluster]`.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Unique and stable: part of client ids and of the inbox address.
    pub instance: Arc<str>,
    /// The origin mark of what this group of processes sends.
    pub group: Arc<str>,
}

/// `[scripts]`.
#[derive(Clone, Debug)]
pub struct Scripts {
    /// The directory that script paths are relative to; absolute, links resolved.
    pub directory: PathBuf,
    /// What `http.request` may reach; empty means nothing.
    pub allow_urls: Vec<UrlRule>,
}

/// One entry of `allow_urls`: scheme, host and port exact, the path as a prefix of whole segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlRule(pub Url);

/// A `[bus.NAME]` table.
#[derive(Clone, Debug)]
pub enum Bus {
    /// `mqtt://` or `mqtts://`.
    Mqtt(Arc<MqttBus>),
    /// `amqp://` or `amqps://`.
    Amqp(Arc<AmqpBus>),
}

impl Bus {
    /// What routes call it.
    pub fn name(&self) -> &str {
        match self {
            Bus::Mqtt(bus) => &bus.common.name,
            Bus::Amqp(bus) => &bus.common.name,
        }
    }
}

/// What both kinds of bus have.
#[derive(Clone, Debug)]
pub struct BusCommon {
    /// The NAME of `[bus.NAME]`.
    pub name: Arc<str>,
    /// The token row that calls without a credential act as.
    pub caller: Option<Arc<str>>,
    /// Which credentials of a message count.
    pub identity: Identity,
}

/// `bus.identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The message carries a token.
    Token,
    /// AMQP: the `user_id` property, which the broker verified, names the token row.
    UserId,
    /// Credentials in messages are ignored: everyone is `caller`.
    None,
}

/// An MQTT broker.
#[derive(Clone, Debug)]
pub struct MqttBus {
    /// What both kinds of bus have.
    pub common: BusCommon,
    /// Host name or address.
    pub host: String,
    /// 1883, or 8883 with TLS, unless the URL says otherwise.
    pub port: u16,
    /// `mqtts://`.
    pub tls: bool,
    /// PEM file with the authorities of the broker's certificate; the system's otherwise.
    pub ca: Option<PathBuf>,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// The protocol version spoken.
    pub protocol: MqttProtocol,
    /// The topic prefix on which calls arrive.
    pub calls: Option<String>,
    /// Topic filters; replies go nowhere else.
    pub reply_topics: Vec<String>,
}

/// The MQTT version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttProtocol {
    /// MQTT 5.0.
    V5,
    /// MQTT 3.1.1, whose protocol level is 4.
    V4,
}

/// An AMQP 0.9.1 broker.
#[derive(Clone, Debug)]
pub struct AmqpBus {
    /// What both kinds of bus have.
    pub common: BusCommon,
    /// The URL without its password.
    pub url: Url,
    /// PEM file with the authorities of the broker's certificate; the system's otherwise.
    pub ca: Option<PathBuf>,
    /// User name and password.
    pub login: (String, Secret),
    /// The queue on which calls arrive.
    pub calls: Option<String>,
    /// Queue names, `*` at the end as a wildcard; replies go nowhere else.
    pub reply_queues: Vec<String>,
    /// MQTT topic filters; replies to what came through RabbitMQ's MQTT (`x-reply-to-topic`) go
    /// nowhere else. Empty unless set: such calls are then refused.
    pub reply_topics: Vec<String>,
    /// How many deliveries may be unacknowledged at once.
    pub prefetch: u16,
}

/// A `[[route]]` row.
#[derive(Clone, Debug)]
pub struct Route {
    /// The methods it takes.
    pub pattern: Pattern,
    /// Where they go.
    pub target: RouteTarget,
    /// How long a call may take at most; the caller's own deadline may be sooner.
    pub timeout: Option<Duration>,
    /// Trying again what was not handed over.
    pub retry: Option<Retry>,
    /// Calls per caller.
    pub rate: Option<Rate>,
    /// Calls under way at once.
    pub concurrency: Option<usize>,
    /// Calls that may wait for a place among `concurrency`.
    pub queue: usize,
    /// The size of params in bytes.
    pub max_params: usize,
    /// JSON Schema of params and result.
    pub schema: Schema,
    /// Said by `callway routes`.
    pub description: Option<String>,
    /// Callable by HTTP GET.
    pub get: bool,
}

/// The target of a route.
#[derive(Clone, Debug)]
pub enum RouteTarget {
    /// A script below `scripts.directory`.
    Script {
        /// The path, ending in `.js` or `.lua`.
        path: Template,
    },
    /// A responder on an MQTT bus.
    Mqtt {
        /// The bus.
        bus: Arc<str>,
        /// The topic of its requests.
        topic: Template,
        /// 0, 1 or 2.
        qos: u8,
        /// JSON-RPC requests instead of bare params. Always so on MQTT 3.1.1.
        jsonrpc: bool,
    },
    /// A responder on an AMQP bus.
    Amqp {
        /// The bus.
        bus: Arc<str>,
        /// The exchange; empty for the default exchange.
        exchange: String,
        /// The routing key of its requests.
        routing_key: Template,
        /// Declare the exchange with this type (durable) instead of checking that it is there.
        declare: Option<&'static str>,
    },
    /// A connected client that offered the method.
    Worker,
    /// An HTTP service.
    Http {
        /// The URL.
        url: Template,
        /// `POST` unless set.
        verb: String,
    },
}

impl RouteTarget {
    /// The label in logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            RouteTarget::Script { path } if path.as_str().ends_with(".lua") => "lua",
            RouteTarget::Script { .. } => "js",
            RouteTarget::Mqtt { .. } => "mqtt",
            RouteTarget::Amqp { .. } => "amqp",
            RouteTarget::Worker => "worker",
            RouteTarget::Http { .. } => "http",
        }
    }
}

/// `retry` of a route.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Tries altogether, the first one included.
    pub attempts: u32,
    /// The wait before the second try; doubles, with jitter.
    pub backoff: Duration,
}

/// `"100/s"`, `"20/m"`, `"5/h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// Within this time.
    pub period: Duration,
}

/// `schema` of a route: compiled JSON Schemas.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// For params.
    pub params: Option<Arc<jsonschema::Validator>>,
    /// For the result.
    pub result: Option<Arc<jsonschema::Validator>>,
}

/// `[limits]`; each has a metric `callway_limit_reached_total{limit}`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of a call that says nothing about its own.
    pub timeout: Duration,
    /// Of any call.
    pub max_timeout: Duration,
    /// TLS, upgrade, first message.
    pub handshake: Duration,
    /// Bytes of one WebSocket message, one HTTP body, one bus message.
    pub message: usize,
    /// Bytes of params.
    pub params: usize,
    /// Levels of arrays and objects.
    pub json_depth: usize,
    /// Requests in one JSON-RPC batch.
    pub batch: usize,
    /// Open client connections.
    pub connections: usize,
    /// Calls under way in the process.
    pub in_flight: usize,
    /// Calls under way on one connection.
    pub in_flight_per_connection: usize,
    /// Bytes waiting to be sent on one connection.
    pub send_queue: usize,
    /// Between WebSocket pings.
    pub ping: Duration,
    /// How long a pong may take.
    pub pong: Duration,
    /// CPU time of one script call.
    pub script_time: Duration,
    /// Bytes of one script call.
    pub script_memory: usize,
    /// Calls that one script call may make.
    pub script_calls: u32,
    /// Passes of one request through callway.
    pub hops: u32,
    /// Bad tries per source before they are slowed.
    pub auth_failures: Rate,
    /// How long calls may go on after SIGTERM.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        Limits {
            timeout: seconds(30),
            max_timeout: seconds(300),
            handshake: seconds(5),
            message: 256 * 1024,
            params: 256 * 1024,
            json_depth: 128,
            batch: 100,
            connections: 10_000,
            in_flight: 10_000,
            in_flight_per_connection: 64,
            send_queue: 256 * 1024,
            ping: seconds(25),
            pong: seconds(10),
            script_time: seconds(1),
            script_memory: 32 * 1024 * 1024,
            script_calls: 100,
            hops: 8,
            auth_failures: Rate {
                count: 20,
                period: seconds(60),
            },
            drain: seconds(10),
        }
    }
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or tracing's directives.
    pub level: String,
    /// The shape of lines.
    pub format: LogFormat,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// systemd's journal with its fields.
    Journald,
}

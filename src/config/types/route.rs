//! Routes: which methods go where, and on which terms.

use std::sync::Arc;
use std::time::Duration;

use crate::router::{Pattern, Template};

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
    /// Calls are accepted, kept on disk and carried out later; their caller gets no result.
    pub one_way: bool,
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

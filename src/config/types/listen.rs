//! Where clients connect, and what is spoken there.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::{Account, FlowOptions, TalkeeOptions};
use crate::auth::Secret;
use crate::router::{Pattern, Template};

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

impl Listener {
    /// The options of MQTT where it is spoken without WebSocket, and nothing else is.
    pub fn mqtt(&self) -> Option<MqttOptions> {
        self.endpoints.iter().find_map(|endpoint| match endpoint {
            Endpoint {
                path,
                dialect: Dialect::Mqtt(options),
            } if path.is_empty() => Some(options.clone()),
            _ => None,
        })
    }
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
    /// Empty for MQTT without WebSocket, which has its listener to itself.
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
    /// Flow.ai's Socket and REST API.
    Flow(Arc<FlowOptions>),
    /// One URL per method.
    Http,
    /// The Action API: accounts, and one action in each message.
    Action(Arc<ActionOptions>),
    /// Talkee's chat rooms.
    Talkee(Arc<TalkeeOptions>),
    /// MQTT 5 and 3.1.1.
    Mqtt(MqttOptions),
}

/// Options of an `mqtt` endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttOptions {
    /// The token row that clients without a password act as.
    pub anonymous: Option<Arc<str>>,
    /// Whose addresses of scriptr are topics too.
    pub scriptr: Option<Account>,
    /// The longest Keep Alive that an MQTT 5 client is left, in seconds.
    pub keep_alive: u16,
    /// How long a session outlives its connection at most; and does, where the client asks for a
    /// session but cannot say how long.
    pub session_expiry: Duration,
    /// Messages that may wait for one client.
    pub queue: usize,
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

/// Options of an `action` endpoint.
#[derive(Clone, Debug)]
pub struct ActionOptions {
    /// Where an action goes in the routing table; has the one capture `{action}`. Endpoints with
    /// the same one have the same accounts.
    pub methods: Template,
    /// The one grant of every account: to call what `methods` may come to.
    pub grant: Pattern,
    /// What who makes an account must know; without it nobody can.
    pub api_key: Option<Secret>,
    /// How long a token lasts without being used.
    pub token_idle: Duration,
    /// How long a token lasts at most.
    pub token_lifetime: Duration,
    /// Answers an error where the protocol has silence: to actions that no route takes.
    pub answer_unknown: bool,
    /// Tells responders of the account that calls: its name and its prompt.
    pub account: bool,
}

impl ActionOptions {
    /// Whose accounts it has.
    pub fn realm(&self) -> &Arc<str> {
        self.grant.text()
    }
}

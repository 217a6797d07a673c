//! What a configuration is once it is validated: plain data, complete.

mod account;
mod bus;
mod channel;
mod flow;
mod limits;
mod listen;
mod process;
mod route;
mod service;
mod talkee;

use std::sync::Arc;

pub use self::account::{Account, Address};
pub use self::bus::{AmqpBus, Bus, BusCommon, Identity, MqttBus, MqttProtocol};
pub use self::channel::{Channel, ChannelAmqp, ChannelCall, ChannelMqtt, Direction, History};
pub use self::flow::{FlowClient, FlowOptions, Webhook};
pub use self::limits::Limits;
pub use self::listen::{
    ActionOptions, Dialect, Endpoint, Listener, MqttOptions, ScriptrOptions, Tls,
};
pub use self::process::{Admin, AdminSocket, Cluster, Log, LogFormat, Scripts, Store, UrlRule};
pub use self::route::{Rate, Retry, Route, RouteTarget, Schema};
pub use self::service::Service;
pub use self::talkee::{TalkeeOptions, TalkeeUser};
use crate::auth::{Digest, Token};

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
    /// Client certificates by their fingerprints, and the names of the tokens that they stand for.
    pub certificates: Vec<(Digest, Arc<str>)>,
    /// The routing table.
    pub routes: Vec<Arc<Route>>,
    /// The channels.
    pub channels: Vec<Arc<Channel>>,
    /// The long-running scripts.
    pub services: Vec<Arc<Service>>,
    /// Where what must survive is kept.
    pub store: Store,
    /// The bounds of everything.
    pub limits: Limits,
    /// What is logged and how.
    pub log: Log,
}

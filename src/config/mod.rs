//! The configuration: validated, complete, and without an `Option` that "must be Some".

mod keys;
mod load;
mod mask;
mod node;
mod report;
mod schema;
mod secret;
mod shape;
mod types;
mod validate;
mod values;

pub use self::load::{Environment, LoadError, admin_socket, load, parse};
pub(crate) use self::mask::mask_urls;
pub use self::report::{Errors, Problem};
pub use self::schema::schema;
pub use self::types::{
    Account, ActionOptions, Address, Admin, AdminSocket, AmqpBus, Bus, BusCommon, Channel,
    ChannelAmqp, ChannelCall, ChannelMqtt, Cluster, Config, Dialect, Direction, Endpoint,
    FlowClient, FlowOptions, History, Identity, Limits, Listener, Log, LogFormat, MqttBus,
    MqttOptions, MqttProtocol, Rate, Retry, Route, RouteTarget, Schema, ScriptrOptions, Scripts,
    Service, Store, TalkeeOptions, TalkeeUser, Tls, UrlRule, Webhook,
};

pub use self::validate::ADMIN_SOCKET;

#[cfg(test)]
mod tests;

/// The commented default: what `callway config default` prints. Valid as it is.
pub const DEFAULT: &str = include_str!("../../config/callway.toml");

//! Where calls come in.

mod admin;
pub mod amqp_bus;
mod body;
mod http;
mod mqtt_bus;

pub use self::admin::Admin;
pub use self::mqtt_bus::MqttCalls;

//! Where calls come in.

mod accept;
mod action;
mod admin;
pub mod amqp_bus;
mod body;
mod connection;
mod credentials;
mod door;
mod flow;
mod follow;
mod http;
mod inward;
mod listener;
mod mqtt_bus;
mod mqtt_listener;
mod stream;
mod talkee;
mod tls;
mod upgrade;
mod work;
mod ws;

pub use self::admin::Admin;
pub use self::listener::Listeners;
pub use self::mqtt_bus::{MqttAddresses, MqttCalls, MqttEvents};
pub use self::mqtt_listener::{Devices, Names, restore_devices};

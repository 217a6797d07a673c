//! Where calls come in.

mod admin;
pub mod amqp_bus;
mod body;
mod http;

pub use self::admin::Admin;

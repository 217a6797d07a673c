//! callway makes scripts callable: a method is called over WebSocket, HTTP, MQTT or AMQP and
//! answered by a script, a device, a service, a worker or an HTTP service.
//!
//! # Layout
//!
//! A call walks through the modules in this order:
//!
//! ```text
//! ingress → dialect → call → auth → router → target
//!                        ↘ channel (events, history) ↗
//! link = broker connections, used by ingress and target · script = interpreter hosts
//! ```

pub mod config;

pub mod app;
pub mod context;
pub mod signal;
mod systemd;

pub mod ingress;

pub mod dialect;

pub mod call;

pub mod auth;

pub mod router;

pub mod bridge;

pub mod channel;

pub mod target;
pub mod webhook;

pub mod link;

pub mod once;

pub mod oneway;

pub mod schedule;

pub mod spool;

pub mod store;

pub mod script;

pub mod observe;

pub mod client;

pub mod cli;

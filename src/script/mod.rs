//! Scripts: JavaScript and Lua in child processes, within budgets.
//!
//! [`Pool`] keeps the hosts, [`host_main`] is what runs in them, [`wire`] is what they say to each
//! other. A script reaches the world only through its host's socket, and so only what the daemon
//! grants. [`Services`] keeps the long-running ones, each in a process of its own.

mod acl;
mod check;
mod fetch;
mod host;
#[cfg(feature = "js")]
mod js;
mod library;
#[cfg(feature = "lua")]
mod lua;
mod pool;
mod reach;
mod service;
mod surface;
mod wire;

pub use self::check::{CheckError, check};
pub use self::host::host_main;
pub use self::pool::Pool;
pub use self::service::{Services, service_main};

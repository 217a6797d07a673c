//! What callway shows of itself: metrics, link states and log lines.

mod links;
mod log;
mod metrics;
mod services;

pub use self::links::{LinkState, LinkStates};
pub use self::log::init as log;
pub use self::metrics::{CONTENT_TYPE, Metrics};
pub use self::services::{ServiceState, ServiceStates};

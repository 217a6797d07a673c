//! What callway shows of itself: metrics, link states and log lines.

mod links;
mod log;
mod metrics;

pub use self::links::{LinkState, LinkStates};
pub use self::log::init as log;
pub use self::metrics::{CONTENT_TYPE, Metrics};

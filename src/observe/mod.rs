//! What callway shows of itself: metrics, link states and log lines.

mod links;
mod metrics;

pub use self::links::{LinkState, LinkStates};
pub use self::metrics::{CONTENT_TYPE, Metrics};

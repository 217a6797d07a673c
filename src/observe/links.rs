//! The state of every link, for `/readyz`, the log and the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Metrics;

/// How the connection to a bus stands. Never "up" while the broker does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Trying for the first time, or again.
    Connecting,
    /// Connected, and everything that was subscribed or declared is restored.
    Up,
    /// The last try failed, or the connection was lost; the next try is timed.
    Down,
}

impl LinkState {
    /// The word in `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            LinkState::Connecting => "connecting",
            LinkState::Up => "up",
            LinkState::Down => "down",
        }
    }
}

/// The latest state of each link, by bus name.
pub struct LinkStates {
    states: Mutex<BTreeMap<Arc<str>, LinkState>>,
    metrics: Arc<Metrics>,
}

impl LinkStates {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> LinkStates {
        LinkStates {
            states: Mutex::new(BTreeMap::new()),
            metrics,
        }
    }

    /// A link changed its state: logged once per change, counted, shown.
    pub fn set(&self, bus: &Arc<str>, state: LinkState, why: &str) {
        let before = self.states.lock().insert(bus.clone(), state);
        if before == Some(state) {
            return;
        }
        self.metrics.link_up(bus, state == LinkState::Up);
        match state {
            LinkState::Down => tracing::warn!(%bus, why, "link down"),
            LinkState::Up => tracing::info!(%bus, "link up"),
            LinkState::Connecting => tracing::debug!(%bus, "link connecting"),
        }
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<Arc<str>, LinkState> {
        self.states.lock().clone()
    }
}

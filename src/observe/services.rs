//! The state of every service, for `/readyz`, the log and the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Metrics;

/// How a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// Its process comes up.
    Starting,
    /// Its main function runs, or waits.
    Running,
    /// It ended against its will and is started again in a while.
    Waiting,
    /// Its main function returned, so it is over.
    Ended,
}

impl ServiceState {
    /// The word in `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceState::Starting => "starting",
            ServiceState::Running => "running",
            ServiceState::Waiting => "waiting",
            ServiceState::Ended => "ended",
        }
    }
}

/// The latest state of each service, by name.
pub struct ServiceStates {
    states: Mutex<BTreeMap<Arc<str>, ServiceState>>,
    metrics: Arc<Metrics>,
}

impl ServiceStates {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> ServiceStates {
        ServiceStates {
            states: Mutex::default(),
            metrics,
        }
    }

    /// A service changed its state.
    pub fn set(&self, service: &Arc<str>, state: ServiceState) {
        self.states.lock().insert(service.clone(), state);
        let up = state == ServiceState::Running;
        self.metrics.service_up(service, up);
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<Arc<str>, ServiceState> {
        self.states.lock().clone()
    }
}

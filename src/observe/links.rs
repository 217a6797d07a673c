//! The state of every link, for `/readyz`, the log and the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Metrics;

/// How the connection to a bus stands. Never "up" while the broker does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Trying for the first time, or again.
    Connecting,
    /// Connected, and everything that was subscribed or declared is restored.
    Up,
    /// Connected, but not all of it works: the broker takes no messages for now, messages wait for
    /// it on disk, or something that should be bound cannot be.
    Degraded,
    /// The last try failed, or the connection was lost; the next try is timed.
    Down,
}

impl LinkState {
    /// The word in `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            LinkState::Connecting => "connecting",
            LinkState::Up => "up",
            LinkState::Degraded => "degraded",
            LinkState::Down => "down",
        }
    }

    /// Whether there is a connection.
    pub fn is_connected(self) -> bool {
        matches!(self, LinkState::Up | LinkState::Degraded)
    }
}

/// The latest state of each link, by bus name. Two sides tell: the link about its connections, and
/// whoever sends by it about what waits; this is the one place that makes one state of both.
pub struct LinkStates {
    states: Mutex<BTreeMap<Arc<str>, Told>>,
    came_up: Notify,
    metrics: Arc<Metrics>,
}

/// What was told about one link.
#[derive(Clone, Copy)]
struct Told {
    link: LinkState,
    backlog: bool,
}

impl Told {
    fn shown(self) -> LinkState {
        match self.link {
            LinkState::Up if self.backlog => LinkState::Degraded,
            link => link,
        }
    }
}

impl LinkStates {
    /// None yet.
    pub fn new(metrics: Arc<Metrics>) -> LinkStates {
        LinkStates {
            states: Mutex::new(BTreeMap::new()),
            came_up: Notify::new(),
            metrics,
        }
    }

    /// A link changed its state: logged once per change, counted, shown.
    pub fn set(&self, bus: &Arc<str>, state: LinkState, why: &str) {
        self.tell(bus, why, |told| told.link = state);
    }

    /// Whether messages wait for this bus longer than they should. It stays so however often the
    /// connection comes and goes, until it is told otherwise.
    pub fn set_backlog(&self, bus: &Arc<str>, backlog: bool) {
        self.tell(bus, "messages wait on disk", |told| told.backlog = backlog);
    }

    fn tell(&self, bus: &Arc<str>, why: &str, change: impl FnOnce(&mut Told)) {
        // Under the lock to the end, so that changes are logged and counted in their order.
        let mut states = self.states.lock();
        let before = states.get(bus).copied();
        let mut told = before.unwrap_or(Told {
            link: LinkState::Connecting,
            backlog: false,
        });
        change(&mut told);
        states.insert(bus.clone(), told);
        let state = told.shown();
        if before.map(Told::shown) == Some(state) {
            return;
        }
        self.metrics.link_up(bus, state.is_connected());
        match state {
            LinkState::Down => tracing::warn!(%bus, why, "link down"),
            LinkState::Degraded => tracing::warn!(%bus, why, "link degraded"),
            LinkState::Up => {
                self.came_up.notify_one();
                tracing::info!(%bus, "link up");
            }
            LinkState::Connecting => tracing::debug!(%bus, "link connecting"),
        }
    }

    /// Waits for the next link that comes up. For one who waits.
    pub async fn came_up(&self) {
        self.came_up.notified().await;
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<Arc<str>, LinkState> {
        let states = self.states.lock();
        let shown = |(bus, told): (&Arc<str>, &Told)| (bus.clone(), told.shown());
        states.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_shows_while_the_link_is_up_and_outlasts_a_reconnect() {
        let metrics = Arc::new(Metrics::new());
        let links = LinkStates::new(metrics.clone());
        let bus: Arc<str> = "field".into();
        let shown = || links.all()["field"];
        links.set_backlog(&bus, true);
        assert_eq!(shown(), LinkState::Connecting);
        links.set(&bus, LinkState::Up, "");
        assert_eq!(shown(), LinkState::Degraded);
        let up = r#"callway_link_up{bus="field"} 1"#;
        assert!(metrics.render().contains(up), "it is up all the same");
        links.set(&bus, LinkState::Down, "gone");
        assert_eq!(shown(), LinkState::Down);
        links.set(&bus, LinkState::Up, "");
        assert_eq!(shown(), LinkState::Degraded);
        links.set_backlog(&bus, false);
        assert_eq!(shown(), LinkState::Up);
    }
}

//! The state of a bus out of the states of its two connections.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::observe::{LinkState, LinkStates};

/// Which connection of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Requests and their replies; answers to calls that came in.
    Send,
    /// Calls that come in.
    Receive,
}

/// Shows a bus as up only while all its connections stand.
pub(super) struct Board {
    bus: Arc<str>,
    links: Arc<LinkStates>,
    roles: Mutex<Vec<(Role, LinkState)>>,
}

impl Board {
    /// Nothing connected yet.
    pub fn new(bus: Arc<str>, links: Arc<LinkStates>) -> Board {
        links.set(&bus, LinkState::Connecting, "");
        Board {
            bus,
            links,
            roles: Mutex::new(vec![(Role::Send, LinkState::Connecting)]),
        }
    }

    /// One connection changed its state.
    pub fn set(&self, role: Role, state: LinkState, why: &str) {
        let mut roles = self.roles.lock();
        match roles.iter_mut().find(|(known, _)| *known == role) {
            Some(entry) => entry.1 = state,
            None => roles.push((role, state)),
        }
        let worst = [LinkState::Down, LinkState::Connecting]
            .into_iter()
            .find(|bad| roles.iter().any(|(_, state)| state == bad));
        self.links
            .set(&self.bus, worst.unwrap_or(LinkState::Up), why);
    }
}

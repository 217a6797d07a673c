//! The state of a bus out of the states of its connections.

use std::sync::Arc;

use tokio::sync::watch;

use crate::observe::{LinkState, LinkStates};

/// Which connection of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Requests and their replies, answers, events that go out.
    Send,
    /// What comes in; on AMQP the calls alone.
    Receive,
    /// On AMQP: events that come in.
    ReceiveEvents,
}

/// Shows a bus as up only while all its connections stand.
pub(super) struct Board {
    bus: Arc<str>,
    links: Arc<LinkStates>,
    lines: watch::Sender<Vec<Line>>,
}

/// One connection.
struct Line {
    role: Role,
    state: LinkState,
    why: String,
}

/// From the worst to the best.
const RANKS: [LinkState; 4] = [
    LinkState::Down,
    LinkState::Connecting,
    LinkState::Degraded,
    LinkState::Up,
];

impl Board {
    /// Nothing connected yet, and nothing but the connection that sends.
    pub fn new(bus: Arc<str>, links: Arc<LinkStates>) -> Board {
        let board = Board {
            bus,
            links,
            lines: watch::Sender::new(Vec::new()),
        };
        board.set(Role::Send, LinkState::Connecting, "");
        board
    }

    /// One connection changed its state; the first time, there is one more.
    pub fn set(&self, role: Role, state: LinkState, why: &str) {
        // Shown under the lock, so that no older state comes after a newer one.
        self.lines.send_modify(|lines| {
            lines.retain(|line| line.role != role);
            let why = why.to_owned();
            lines.push(Line { role, state, why });
            if let Some(worst) = worst(lines) {
                self.links.set(&self.bus, worst.state, &worst.why);
            }
        });
    }

    /// Waits while anything is connecting, then tells why not all of it is connected.
    pub async fn settled(&self) -> Result<(), String> {
        let mut lines = self.lines.subscribe();
        let settled = lines
            .wait_for(|lines| worst(lines).is_some_and(|line| line.state != LinkState::Connecting));
        let Ok(lines) = settled.await else {
            return Err("the link has ended".into());
        };
        match worst(&lines) {
            Some(line) if line.state == LinkState::Down => Err(line.why.clone()),
            _ => Ok(()),
        }
    }

    /// Waits until the connection that sends is up and takes messages.
    pub async fn sending(&self) {
        let mut lines = self.lines.subscribe();
        let up = |line: &Line| line.role == Role::Send && line.state == LinkState::Up;
        // The sender lives as long as this.
        lines.wait_for(|lines| lines.iter().any(up)).await.ok();
    }
}

fn worst(lines: &[Line]) -> Option<&Line> {
    let rank = |line: &&Line| RANKS.iter().position(|state| *state == line.state);
    lines.iter().min_by_key(rank)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::observe::Metrics;

    #[tokio::test]
    async fn a_bus_is_as_good_as_its_worst_connection() {
        let links = Arc::new(LinkStates::new(Arc::new(Metrics::new())));
        let board = Board::new("field".into(), links.clone());
        let shown = || links.all()["field"];
        board.set(Role::Receive, LinkState::Connecting, "");
        board.set(Role::Send, LinkState::Up, "");
        assert_eq!(shown(), LinkState::Connecting);
        assert!(board.settled().now_or_never().is_none());
        board.sending().await;

        board.set(Role::Receive, LinkState::Down, "refused");
        assert_eq!(shown(), LinkState::Down);
        assert_eq!(board.settled().await, Err("refused".into()));
        board.set(Role::Receive, LinkState::Up, "");
        board.set(Role::Send, LinkState::Degraded, "blocked");
        assert_eq!(shown(), LinkState::Degraded);
        assert_eq!(board.settled().await, Ok(()));
        assert!(board.sending().now_or_never().is_none(), "it is blocked");
    }
}

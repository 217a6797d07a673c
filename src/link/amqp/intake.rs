//! What a receiving connection is for: the calls of a bus, or its events. Each has a connection of
//! its own, so that a message which nobody can read, or a queue that is not as it should be, is
//! the trouble of its kind alone.

use super::connect::Open;
use super::events::Events;
use super::topology;
use crate::link::board::Role;

/// Where messages are taken from.
pub(super) enum Intake {
    /// The calls that arrive on this queue.
    Calls(String),
    /// The events of channels.
    Events(Events),
}

impl Intake {
    /// The queue.
    pub fn queue(&self) -> &str {
        match self {
            Intake::Calls(queue) => queue,
            Intake::Events(events) => events.queue(),
        }
    }

    /// Which connection of the bus it is.
    pub fn role(&self) -> Role {
        match self {
            Intake::Calls(_) => Role::Receive,
            Intake::Events(_) => Role::ReceiveEvents,
        }
    }

    /// What the connection is called at the broker.
    pub fn title(&self) -> &'static str {
        match self {
            Intake::Calls(_) => "receives",
            Intake::Events(_) => "receives events",
        }
    }

    /// Whether anything is taken from the queue.
    pub fn takes(&self) -> bool {
        match self {
            Intake::Calls(_) => true,
            Intake::Events(events) => events.any(),
        }
    }

    /// Whether there is nothing to do at all.
    pub async fn is_idle(&self) -> bool {
        match self {
            Intake::Calls(_) => false,
            Intake::Events(events) => events.is_idle().await,
        }
    }

    /// Declares what has to be there.
    pub async fn declare(&self, open: &Open) -> Result<(), String> {
        match self {
            Intake::Calls(queue) => topology::declare_calls(open, queue).await,
            Intake::Events(events) => events.declare(open).await,
        }
    }

    /// Whether something does not work although the connection stands.
    pub fn is_troubled(&self) -> bool {
        match self {
            Intake::Calls(_) => false,
            Intake::Events(events) => events.is_troubled(),
        }
    }

    /// What that is.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Intake::Calls(_) => None,
            Intake::Events(events) => events.trouble(),
        }
    }

    /// Tries again what did not work.
    pub async fn mend(&self, open: &Open) {
        if let Intake::Events(events) = self {
            events.bind(open, true).await;
        }
    }
}

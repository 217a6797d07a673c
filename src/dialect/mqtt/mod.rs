//! MQTT 5.0 and 3.1.1, the server's side: packets, sessions, and the conversation on one connection,
//! without I/O. What a message means is not decided here.

mod conversation;
mod decode;
pub mod encode;
mod packet;
mod properties;
mod reason;
mod session;
#[cfg(test)]
mod tests;
pub mod topic;
mod wire;

pub use self::conversation::{ALIAS_MAXIMUM, Conversation, Effect, RECEIVE_MAXIMUM, Ticket};
pub use self::decode::{connect, packet};
pub use self::packet::{Ack, Connect, Packet, Publish, Version, Will, Wish};
pub use self::reason::Reason;
pub use self::session::{Arrival, Message, Received, Room, Session, Settled, Subscription, Taken};
pub use self::wire::{Frame, frame};

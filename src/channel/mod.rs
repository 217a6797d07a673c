//! Events: named streams that anyone publishes to and subscribes, and what of their past is kept.
//!
//! [`Hub::publish`] is the one way of an event, whoever sends it: it is checked, handed to
//! [`Outward`] (buses, calls), kept where its row has a history, and put into the mailboxes of
//! those who subscribed. A publisher never waits for a reader.

mod ears;
mod event;
mod hub;
mod lasts;
mod leaf;
mod live;
mod mailbox;
mod manner;
mod past;
mod position;
mod publish;
mod scripts;
mod seal;
mod subscriber;
mod sweep;
#[cfg(test)]
mod tests;

pub use self::ears::{Ear, Keeping, unkept};
pub use self::event::{Event, Placed, Shape};
pub use self::hub::{Hub, permit};
pub use self::lasts::Last;
pub use self::leaf::Leaf;
pub use self::manner::{Beside, Manner};
pub use self::past::{Past, Query};
pub use self::position::Position;
pub use self::publish::{Forwarded, Kept, Origin, Outward, Publish, Receipt};
pub use self::scripts::Scripts;
pub use self::seal::Seal;
pub use self::subscriber::{Happened, Subscribed, Subscriber};
pub use self::sweep::sweep;

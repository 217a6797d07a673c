//! Where calls go. One trait with one verb; one file per kind of target.

mod amqp;
mod http;
mod mqtt;
mod script;
mod worker;

use futures_util::future::BoxFuture;

pub use self::amqp::AmqpTarget;
pub use self::http::{HttpTarget, http_client};
pub use self::mqtt::MqttTarget;
pub use self::script::ScriptTarget;
pub use self::worker::{Ask, Mail, Seat, WorkerAnswer, WorkerTarget, Workers};

use crate::call::{Call, Outcome};
use crate::router::Captures;

/// Something that answers calls.
///
/// The dispatcher has settled permission, limits, params and the deadline before it asks, and
/// stops waiting at the deadline by dropping the future: whatever a target holds for the call must
/// be given back when that happens.
pub trait Target: Send + Sync + 'static {
    /// Answers one call. May be asked again for the same call if [`crate::call::Fault::may_retry`].
    fn call<'a>(&'a self, call: &'a Call, captures: &'a Captures) -> BoxFuture<'a, Outcome>;
}

//! Supervised connections to brokers: a cloneable handle, a bounded queue, one task for each
//! connection that owns it.

pub mod amqp;
mod backoff;
mod board;
mod memory;
pub mod mqtt;

pub use self::backoff::Backoff;

//! Supervised connections to brokers: a cloneable handle, a bounded queue, one task that owns the
//! connection.

pub mod amqp;
mod backoff;
pub mod mqtt;

pub use self::backoff::Backoff;

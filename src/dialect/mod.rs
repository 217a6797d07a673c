//! The protocols that clients speak, as state machines without I/O.

pub mod envelope;
pub mod http;
pub mod scriptr;

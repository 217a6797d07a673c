//! The protocols that clients speak, as state machines without I/O.

pub mod http;
pub mod scriptr;

//! The protocols that clients speak, as state machines without I/O.

pub mod action;
pub mod envelope;
pub mod flow;
pub mod http;
pub mod jsonrpc;
pub mod mqtt;
pub mod scriptr;
mod session;
pub mod talkee;

pub use self::session::{CloseCode, Deed, Effect, Effects, Request, Session, Ticket, Told};

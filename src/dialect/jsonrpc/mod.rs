//! JSON-RPC 2.0 in both directions (<https://www.jsonrpc.org/specification>): clients call, and
//! may answer calls themselves as workers.
//!
//! `docs/wire-jsonrpc.md` describes what callway adds.

mod batch;
mod builtin;
mod channels;
mod conversation;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::conversation::Conversation;

//! scriptr.io's shapes without I/O: a WebSocket whose path holds the token, and an HTTP form.
//!
//! `docs/wire-scriptr.md` describes both. Events
//! reach subscribers as they are, without a wrapper.

mod command;
mod conversation;
mod failure;
mod form;
mod rest;
mod wire;

use bytes::Bytes;

pub use self::conversation::Conversation;
pub use self::rest::Rest;
use self::wire::Wanted;

use crate::call::Payload;
use crate::config::ScriptrOptions;

/// The name in the routing table of a script that a client names by its path. One leading slash
/// and doubled ones are forgiven, as clients write them.
fn routed(options: &ScriptrOptions, script: &str) -> String {
    options
        .methods
        .with_wildcard(script.trim_start_matches('/'))
}

/// The channel and the payload of a frame that publishes, which may come over other transports too.
pub fn publication(frame: &Bytes) -> Option<(String, Payload)> {
    match wire::read(frame).what {
        Ok(Wanted::Publish(channel, payload)) => Some((channel, payload)),
        _ => None,
    }
}

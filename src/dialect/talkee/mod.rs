//! Talkee's shapes without I/O: chat rooms over WebSocket and HTTP, and the API around them.
//!
//! `docs/wire-talkee.md` describes them. A room is a channel and a message one of its events.

mod conversation;
mod jwt;
mod login;
mod message;
mod mvm;
mod refusal;
mod rest;
mod room;
mod user;

pub use self::conversation::{Conversation, first};
pub use self::jwt::{issue, user_id};
pub use self::login::Proof;
pub use self::message::{Draft, list, shown};
pub use self::mvm::signer;
pub use self::refusal::Refusal;
pub use self::rest::{
    Area, Wanted, cors, echo, health, json_of, login, plain, read, refuse, wrapped,
};
pub use self::room::channel;
pub use self::user::User;

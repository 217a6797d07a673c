//! Flow.ai's shapes without I/O: a WebSocket of frames `{type, payload}`, and the JSON of its HTTP
//! forms. `docs/wire-flow.md` describes them.
//!
//! A thread is a channel. What a user says and what is answered are its events, and whatever else
//! is published there reaches the user as well: there is one way to a socket.

mod answer;
mod asker;
mod conversation;
mod frame;
mod message;
mod reply;
pub mod rest;
mod thread;

pub use self::answer::{error, ok, refuse, with_secret};
pub use self::asker::{Asker, channel_id, client_of};
pub use self::conversation::{Conversation, Desk, Done, Entrance, Pass};
pub use self::message::Message;
pub use self::reply::{Said, entry, is_sync, of_event, of_result, to_event};
pub use self::thread::Thread;

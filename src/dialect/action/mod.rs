//! The Action API without I/O: one action in each message, accounts with tokens, and HTTP twins.
//!
//! `docs/wire-action.md` describes it. A socket proves nobody: each message carries the token of
//! the account that it comes from. What is asked of accounts is a [`Question`], answered by
//! whoever drives the conversation; everything else is a call.

mod account;
mod conversation;
mod fields;
mod plan;
mod rest;
mod said;

pub use self::account::{Answer, Profile, Question, Refusal, Registration};
pub use self::conversation::Conversation;
pub use self::plan::{Action, Step};
pub use self::rest::{Rest, VERBS};
pub use self::said::Said;

//! What is asked of the accounts, and what is answered.

use std::sync::Arc;

use crate::auth::{Caller, Secret};
use crate::call::Fault;

/// Something that the accounts decide.
#[derive(Debug)]
pub enum Question {
    /// Make an account, and log it in.
    Register(Registration),
    /// Log an account in: give it a new token.
    Connect {
        /// What identifies it.
        checksum: Secret,
    },
    /// Log out whom this token proves.
    Disconnect {
        /// The token, if there is one.
        token: Option<Secret>,
    },
    /// Who calls this method.
    Admit {
        /// The token, if there is one.
        token: Option<Secret>,
        /// What is to be called.
        method: Arc<str>,
        /// Whether nobody is admitted where no route takes the method.
        needs_route: bool,
    },
}

/// An account that somebody wants.
#[derive(Debug)]
pub struct Registration {
    /// What permits to make one.
    pub api_key: Secret,
    /// What identifies it from then on.
    pub checksum: Secret,
    /// How it is called.
    pub name: String,
    /// What it is to be like.
    pub prompt: String,
}

/// What a responder is told of an account.
#[derive(Debug)]
pub struct Profile {
    /// How it is called.
    pub name: String,
    /// What it is to be like.
    pub prompt: String,
}

/// What the accounts answer.
#[derive(Debug)]
pub enum Answer {
    /// A new token.
    Token(Secret),
    /// Logged out.
    Disconnected,
    /// Who calls, and what is told of the account, where that is wanted.
    Caller(Caller, Option<Profile>),
}

/// Why they refuse.
#[derive(Debug)]
pub enum Refusal {
    /// The API key is not the right one.
    ApiKey,
    /// There is an account with this checksum.
    Taken,
    /// There are as many accounts as there may be.
    Full,
    /// There is no account with this checksum.
    Unknown,
    /// There is no token.
    NoToken,
    /// The token proves nobody.
    Token,
    /// No route takes the method.
    NoRoute,
    /// No token could be made.
    Generate(Fault),
    /// What was to be kept could not be.
    Failed(Fault),
}

//! Options of a `talkee` endpoint.

use std::sync::Arc;

use crate::auth::Secret;
use crate::router::Template;

/// Rooms, who talks in them, and how they are shown.
#[derive(Clone, Debug)]
pub struct TalkeeOptions {
    /// The channel of a room; has the captures `{site_id}` and `{slug}`.
    pub channel: Template,
    /// Lists of messages are bare arrays, as the widget reads them.
    pub bare_lists: bool,
    /// Whether messages may be read without a token.
    pub anonymous_read: bool,
    /// Signs the tokens that login hands out; without it there is no login.
    pub jwt_secret: Option<Secret>,
    /// The people that are known by name.
    pub users: Vec<TalkeeUser>,
}

/// One of `users`.
#[derive(Clone, Debug)]
pub struct TalkeeUser {
    /// The number that Talkee knows a user by.
    pub id: u64,
    /// The name that is shown.
    pub full_name: String,
    /// The picture that is shown; empty for none.
    pub avatar_url: String,
    /// The token row whose grants count.
    pub token: Arc<str>,
    /// The Ethereum address that proves this user by a signed message.
    pub address: Option<[u8; 20]>,
}

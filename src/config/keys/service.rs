//! The keys of `[[service]]`.

use crate::config::shape::Shape::{Text, Texts};
use crate::config::shape::{Key, key, required};

pub(super) const SERVICE: &[Key] = &[
    required("name", Text, "names it in logs, metrics and the store"),
    required(
        "script",
        Text,
        "a Lua script below scripts.directory that returns its main function",
    ),
    required("token", Text, "the token row that it acts as"),
    key(
        "allow_urls",
        Texts,
        "what it may connect to by ws, wss, http and https; default nothing",
    ),
    key(
        "chat",
        Text,
        "the channel of its chat: users, messages, commands; default none",
    ),
];

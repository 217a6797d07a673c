//! The tables in the options of the dialect `flow`.

use crate::config::shape::Shape::{Secret, Text};
use crate::config::shape::{Key, key, required};

pub(super) const CLIENT: &[Key] = &[
    required(
        "id",
        Text,
        "the clientId: as clients send it, or the channel id in it",
    ),
    required("token", Text, "the token row that its sockets act as"),
];

pub(super) const WEBHOOK: &[Key] = &[
    required("url", Text, "where replies are posted to"),
    key(
        "token",
        Secret,
        "sent as Authorization: Bearer, as \"${NAME}\" from the environment",
    ),
    key("token_file", Text, "file that holds the token"),
];

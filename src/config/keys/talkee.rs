//! `users` of a `talkee` endpoint.

use crate::config::shape::Shape::{Integer, Text};
use crate::config::shape::{Key, key, required};

/// Numbers above these stand for callers that are no users.
const MOST: i64 = (1 << 52) - 1;

pub(super) const TALKEE_USER: &[Key] = &[
    required(
        "id",
        Integer(1, MOST),
        "the number that clients know the user by",
    ),
    key(
        "full_name",
        Text,
        "the name that is shown; default the token's",
    ),
    required("token", Text, "the token row whose grants count"),
    key("avatar_url", Text, "the picture that is shown"),
    key(
        "address",
        Text,
        "the Ethereum address that may log in by a signed message",
    ),
];

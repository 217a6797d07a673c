//! Who talks, as clients see them.

use serde::Serialize;
use uuid::Builder;

use crate::auth::digest;
use crate::config::{TalkeeOptions, TalkeeUser};

/// The time of something that happened before anybody looked.
const LONG_AGO: &str = "1970-01-01T00:00:00Z";
/// The numbers of callers that are no configured users begin here.
const CALLERS: u64 = 1 << 52;

/// A user, and all that is told of one.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// The number that excludes a sender from what is sent to all others.
    pub id: u64,
    mixin_user_id: String,
    mixin_identity_number: String,
    full_name: String,
    avatar_url: String,
    mvm_public_key: String,
    created_at: &'static str,
}

impl User {
    /// One of the configured users.
    pub fn configured(user: &TalkeeUser) -> User {
        let address = user.address.as_ref().map(siwe::eip55);
        User {
            avatar_url: user.avatar_url.clone(),
            mvm_public_key: address.unwrap_or_default(),
            ..User::plain(user.id, &user.full_name)
        }
    }

    /// The user that a caller is: the configured one with its token row, or one of its own.
    pub fn of_caller(options: &TalkeeOptions, caller: &str) -> User {
        let users = &options.users;
        if let Some(user) = users.iter().find(|user| *user.token == *caller) {
            return User::configured(user);
        }
        // A number that stays, and that clients whose numbers are floats can tell from others.
        let bits = u64::from_str_radix(&hash(caller)[..13], 16).unwrap_or_default();
        User::plain(CALLERS | bits, caller)
    }

    /// Whoever has published something that is not known to be a user's.
    pub fn foreign() -> User {
        User::plain(0, "callway")
    }

    fn plain(id: u64, full_name: &str) -> User {
        User {
            id,
            mixin_user_id: mixin_id(id),
            mixin_identity_number: id.to_string(),
            full_name: full_name.to_owned(),
            avatar_url: String::new(),
            mvm_public_key: String::new(),
            created_at: LONG_AGO,
        }
    }
}

/// Clients compare these to know their own messages, so each user has another one.
fn mixin_id(id: u64) -> String {
    let bits = u128::from_str_radix(&hash(&format!("user {id}"))[..32], 16).unwrap_or_default();
    let id = Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid();
    id.hyphenated().to_string()
}

fn hash(text: &str) -> String {
    digest(&format!("talkee {text}")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_that_are_no_users_have_numbers_that_floats_can_hold() {
        let one = User::plain(1, "one");
        assert_ne!(one.mixin_user_id, User::plain(2, "two").mixin_user_id);
        let options = TalkeeOptions {
            channel: crate::router::Template::parse("t/{site_id}/{slug}").unwrap(),
            bare_lists: false,
            anonymous_read: false,
            jwt_secret: None,
            users: Vec::new(),
        };
        let caller = User::of_caller(&options, "pump-7");
        assert!((CALLERS..CALLERS * 2).contains(&caller.id));
        assert_eq!(caller.id as f64 as u64, caller.id);
        assert_eq!(caller.id, User::of_caller(&options, "pump-7").id);
        assert_ne!(caller.id, User::of_caller(&options, "pump-8").id);
    }
}

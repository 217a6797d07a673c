//! Who a token proves: callway's own tokens, and those that a login handed out.

use std::sync::Arc;

use crate::auth::{Authenticator, Caller, Grants, Secret, Source, Token, digest};
use crate::call::Fault;
use crate::config::{TalkeeOptions, TalkeeUser};
use crate::dialect::talkee::user_id;
use crate::router::Pattern;

/// Those who are known at an endpoint.
pub(super) struct Members {
    options: Arc<TalkeeOptions>,
    auth: Arc<Authenticator>,
}

impl Members {
    pub(super) fn new(options: Arc<TalkeeOptions>, auth: Arc<Authenticator>) -> Members {
        Members { options, auth }
    }

    /// The caller that a token proves. Bad tries are counted and slowed as everywhere.
    ///
    /// Returns `unauthenticated`.
    pub(super) async fn prove(&self, token: &Secret, source: &Source) -> Result<Caller, Fault> {
        match self.of_login(token) {
            Some(caller) => Ok(caller),
            None => self.auth.authenticate(token, source).await,
        }
    }

    /// The same for somebody who is known already.
    pub(super) fn look_up(&self, token: &Secret) -> Option<Caller> {
        self.of_login(token).or_else(|| self.auth.look_up(token))
    }

    /// A user is known for as long as the configuration has both user and token row.
    fn of_login(&self, token: &Secret) -> Option<Caller> {
        let id = user_id(self.options.jwt_secret.as_ref()?, token)?;
        self.auth.by_name(&self.find(|user| user.id == id)?.token)
    }

    /// The configured user of whom this is true.
    pub(super) fn find(&self, is: impl Fn(&TalkeeUser) -> bool) -> Option<&TalkeeUser> {
        self.options.users.iter().find(|user| is(user))
    }

    /// As whom everybody reads where no token is needed. Nobody can be it by a token.
    pub(super) fn reader(&self) -> Option<Caller> {
        if !self.options.anonymous_read {
            return None;
        }
        let rooms = Pattern::parse(self.options.channel.as_str()).ok()?;
        Some(Caller::new(Arc::new(Token {
            name: "talkee:anonymous".into(),
            digest: digest(""),
            grants: Grants {
                subscribe: vec![rooms],
                ..Grants::default()
            },
            admin: false,
        })))
    }
}

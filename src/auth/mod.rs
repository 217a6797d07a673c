//! Who calls, and what they may do.

mod accounts;
mod authenticator;
mod grant;
mod keyring;
mod throttle;
mod ticket;
mod token;

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use self::accounts::{Account, Accounts, Lifetime, Login, account_name};
pub use self::authenticator::Authenticator;
pub use self::grant::{GrantTexts, Grants, Verb};
pub use self::keyring::{Keyring, Made};
pub use self::throttle::Source;
pub use self::ticket::Tickets;
pub use self::token::{Digest, Secret, Token, check_token_name, digest, fingerprint, new_secret};
use crate::call::{Fault, Kind};

/// A caller whose credential was accepted: a token, shared.
#[derive(Clone)]
pub struct Caller {
    token: Arc<Token>,
    /// Cancelled when the token is revoked or expires. A configured row lasts as long as the
    /// process.
    life: Option<CancellationToken>,
}

impl Caller {
    /// The caller that a token row stands for.
    pub fn new(token: Arc<Token>) -> Caller {
        Caller { token, life: None }
    }

    /// May do nothing; what a connection acts as whose messages each prove somebody.
    pub fn nobody() -> Caller {
        Caller::new(Arc::new(Token {
            name: "nobody".into(),
            digest: digest(""),
            grants: Grants::default(),
            admin: false,
        }))
    }

    /// The token's name, which is what logs and responders get to see.
    pub fn name(&self) -> &str {
        &self.token.name
    }

    /// Whether it may use the administration interface.
    pub fn is_admin(&self) -> bool {
        self.token.admin
    }

    /// Whether a grant names this.
    pub fn may(&self, verb: Verb, name: &str) -> bool {
        self.token.grants.permit(verb, name)
    }

    /// The token row.
    pub fn token(&self) -> &Arc<Token> {
        &self.token
    }

    /// Whether its token was revoked or has expired since it was accepted.
    pub fn has_ended(&self) -> bool {
        self.life
            .as_ref()
            .is_some_and(CancellationToken::is_cancelled)
    }

    /// Waits for that. Whatever goes on in a caller's name for longer than a moment looks out for
    /// it, and stops.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let life = self.life.clone();
        async move {
            match life {
                Some(life) => life.cancelled_owned().await,
                None => std::future::pending().await,
            }
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({})", self.token.name)
    }
}

/// What whoever has such a token is told.
pub fn token_ended() -> Fault {
    Fault::new(
        Kind::Unauthenticated,
        "the token was revoked or has expired; ask for a new one",
    )
}

//! Who calls, and what they may do.

mod grant;
mod throttle;
mod token;

use std::fmt;
use std::sync::Arc;

pub use self::grant::{Grants, Verb};
pub use self::throttle::Source;
pub use self::token::{Authenticator, Digest, Secret, Token, digest, new_secret};

/// A caller whose credential was accepted: a token row, shared.
#[derive(Clone)]
pub struct Caller(Arc<Token>);

impl Caller {
    /// The caller that a token row stands for.
    pub fn new(token: Arc<Token>) -> Caller {
        Caller(token)
    }

    /// The token's name, which is what logs and responders get to see.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it may use the administration interface.
    pub fn is_admin(&self) -> bool {
        self.0.admin
    }

    /// Whether a grant names this.
    pub fn may(&self, verb: Verb, name: &str) -> bool {
        self.0.grants.permit(verb, name)
    }

    /// The token row.
    pub fn token(&self) -> &Arc<Token> {
        &self.0
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({})", self.0.name)
    }
}

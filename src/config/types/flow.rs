//! What an endpoint of the dialect `flow` is told: its clients, its threads, its webhook.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::auth::Secret;
use crate::router::Pattern;

/// Options of a `flow` endpoint.
#[derive(Clone, Debug)]
pub struct FlowOptions {
    /// Who may connect.
    pub clients: Vec<FlowClient>,
    /// The channel that a thread is; has the one capture `{threadId}`.
    pub channel: Pattern,
    /// The method that each message is put to.
    pub call: Arc<str>,
    /// Whether a thread has a secret, which its first caller gets and which it needs from then on.
    pub nonce: bool,
    /// How long a socket may be silent.
    pub idle: Duration,
    /// Where replies are posted to.
    pub webhook: Option<Webhook>,
}

/// One of `clients`: a public name, and the token row that its sockets act as.
#[derive(Clone, Debug)]
pub struct FlowClient {
    /// What a client calls itself: this, or base64 of `x|<this>`.
    pub id: Arc<str>,
    /// The token row.
    pub token: Arc<str>,
}

/// `webhook` of a flow endpoint.
#[derive(Clone)]
pub struct Webhook {
    /// The queue in the spool, which names the endpoint.
    pub queue: Arc<str>,
    /// Where to.
    pub url: Url,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL of a hook may be a secret as a whole.
        write!(f, "Webhook({})", self.queue)
    }
}

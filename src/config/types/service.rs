//! Services: long-running scripts.

use std::sync::Arc;

use super::UrlRule;

/// A `[[service]]` row.
#[derive(Clone, Debug)]
pub struct Service {
    /// Names it in logs, metrics and the store.
    pub name: Arc<str>,
    /// The path of its script below `scripts.directory`, ending in `.lua`.
    pub script: Arc<str>,
    /// The token row that it acts as.
    pub token: Arc<str>,
    /// What it may connect to; empty means nothing.
    pub allow_urls: Vec<UrlRule>,
    /// The channel of its chat, if it has one.
    pub chat: Option<Arc<str>>,
}

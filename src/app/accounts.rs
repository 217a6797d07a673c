//! The accounts that clients of `action` endpoints made in earlier runs.

use crate::config::Dialect;
use crate::context::Context;

/// Takes them up, as far as there are endpoints that know them. A database that cannot be read
/// costs them, not the start.
pub(super) async fn load(context: &Context) {
    let endpoints = context.config.listeners.iter();
    let endpoints = endpoints.flat_map(|listener| &listener.endpoints);
    let accounts = context.auth.accounts();
    let mut any = false;
    for endpoint in endpoints {
        if let Dialect::Action(options) = &endpoint.dialect {
            accounts.open(options.realm().clone(), options.grant.clone());
            any = true;
        }
    }
    if !any {
        return;
    }
    match context.store.accounts().await {
        Ok(kept) => kept.into_iter().for_each(|account| accounts.add(account)),
        Err(fault) => {
            tracing::error!(%fault, "accounts cannot be read, so they are refused");
        }
    }
}

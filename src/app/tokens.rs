//! The tokens that were made in earlier runs, and the end of each when its time has come.

use crate::context::Context;

/// Takes them up. A database that cannot be read costs them, not the start.
pub(super) async fn load(context: &Context) {
    let tokens = match context.store.tokens().await {
        Ok(tokens) => tokens,
        Err(fault) => {
            tracing::error!(%fault, "made tokens cannot be read, so they are refused");
            return;
        }
    };
    let auth = &context.auth;
    let tokens = tokens.into_iter().filter(|made| {
        let token = &made.token;
        let shadowed = auth.is_configured(&token.name, &token.digest);
        if shadowed {
            tracing::warn!(
                token = %token.name,
                "a made token is refused because the configuration has one of its name; revoke it"
            );
        }
        !shadowed
    });
    auth.made().add(tokens);
}

/// Ends them when they expire, for as long as callway runs.
pub(super) fn watch(context: &Context) {
    let (auth, stop) = (context.auth.clone(), context.stop.clone());
    context.background.spawn(async move {
        tokio::select! {
            () = auth.made().watch() => {}
            () = stop.cancelled() => {}
        }
    });
}

//! How dead letters are tried again: each kind goes back to where it was going.

use std::sync::Arc;

use futures_util::FutureExt as _;

use crate::bridge::Bridge;
use crate::call::{Fault, Kind};
use crate::context::Context;
use crate::store::{Letter, LetterKind};

/// Sets it, before anybody can ask.
pub(super) fn set(context: &Context, bridge: &Arc<Bridge>) {
    let (oneway, bridge) = (context.oneway.clone(), bridge.clone());
    let webhooks = context.webhooks.clone();
    let revive = move |letter: Letter| {
        let (oneway, bridge) = (oneway.clone(), bridge.clone());
        let webhooks = webhooks.clone();
        async move {
            match letter.kind {
                LetterKind::Call => oneway.revive(letter).await,
                LetterKind::Event => bridge.revive(letter).await,
                LetterKind::Webhook => webhooks.revive(letter).await,
                LetterKind::Message => Err(Fault::new(
                    Kind::InvalidRequest,
                    "nothing could be made of this message, so it cannot be tried again; send a \
                     better one, and purge this",
                )),
            }
        }
        .boxed()
    };
    // A second one would be a defect; the first stays.
    context.revive.set(Arc::new(revive)).unwrap_or_default();
}

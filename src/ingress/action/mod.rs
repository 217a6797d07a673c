//! The Action API's endpoints: `<path>/ws`, the HTTP twins beside it, and the desk where both ask
//! for accounts.

mod desk;
mod twins;

use std::sync::Arc;

pub(super) use self::desk::Desk;
pub(super) use self::twins::exchange;
use super::upgrade::Opening;
use crate::auth::Source;
use crate::call::{Fault, Kind};
use crate::config::ActionOptions;
use crate::context::Context;
use crate::dialect::action::Conversation;

/// The path of the WebSocket below the endpoint.
const SOCKET: &str = "ws";

/// What a WebSocket at this path below the endpoint is opened with.
pub(super) fn opening(
    context: &Context,
    options: &Arc<ActionOptions>,
    source: Source,
    rest: &str,
) -> Result<Opening, Fault> {
    if rest.trim_matches('/') != SOCKET {
        let message = "the WebSocket of this endpoint is at its path followed by /ws";
        return Err(Fault::new(Kind::MethodNotFound, message));
    }
    let session = Conversation::new(options.clone(), &context.config.limits);
    let desk = Desk::new(context.clone(), options.clone(), source);
    Ok(Opening::Accounts(Arc::new(desk), Box::new(session)))
}

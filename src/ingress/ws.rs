//! The session loop of every WebSocket dialect: reads and writes at once, and runs the calls.
//!
//! One task per connection holds everything: calls are futures inside it, so that dropping the
//! session cancels them, and what is sent waits in a queue with a bound.

mod accounts;
mod calls;
mod channels;
mod farewell;
mod first;
mod outbox;
mod pulse;
mod talk;

use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

pub(super) use self::first::{Introduced, Introduction};
use self::talk::{End, Talk};
use super::connection::READ_BUFFER;
use super::stream::Stream;
use super::upgrade::Opening;
use crate::auth::Caller;
use crate::config::Limits;
use crate::context::Context;
use crate::dialect::CloseCode;

/// Frames are gathered up to this size before they are written.
const WRITE_BUFFER: usize = 8 * 1024;

type Socket = WebSocketStream<Stream>;

/// Runs a WebSocket from its opening to its end. `read` was read behind the handshake.
pub(super) async fn run(stream: Stream, read: Vec<u8>, opening: Opening, context: Context) {
    // Each part is a box of its own, so that an idle connection keeps no room for the others.
    let (end, socket) = match Box::pin(open(stream, read, opening, &context)).await {
        None => return,
        Some(Err(refused)) => refused,
        Some(Ok(talk)) => {
            let _counted = Counted::open(&context);
            talk.run().await
        }
    };
    let (code, reason, unread) = match end {
        End::Gone => return,
        End::Close(code, reason) => (code, reason, false),
        End::Unread => (CloseCode::TooSlow, "too slow", true),
    };
    Box::pin(farewell::say(socket, code, reason, unread, &context)).await;
}

/// Comes to a conversation, or to why there is none.
async fn open(
    stream: Stream,
    read: Vec<u8>,
    opening: Opening,
    context: &Context,
) -> Option<Result<Box<Talk>, (End, Socket)>> {
    let config = config(&context.config.limits);
    let mut socket =
        WebSocketStream::from_partially_read(stream, read, Role::Server, Some(config)).await;
    let opened = match opening {
        // Not opened here.
        Opening::Mqtt(_) => return None,
        Opening::Refusal(code, reason) => Err(End::Close(code, reason)),
        Opening::Session(caller, session) => Ok((caller, session, None)),
        Opening::Accounts(desk, session) => Ok((Caller::nobody(), session, Some(desk))),
        Opening::Stranger(introduction) => first::hear(&mut socket, introduction, context)
            .await
            .map(|(caller, session)| (caller, session, None)),
    };
    Some(match opened {
        Err(end) => Err((end, socket)),
        Ok((caller, session, desk)) => {
            let talk = Talk::new(socket, caller, session, desk, context.clone());
            Ok(Box::new(talk))
        }
    })
}

fn config(limits: &Limits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(limits.message))
        .max_frame_size(Some(limits.message))
}

/// An open connection, as the metrics see it.
struct Counted<'a>(&'a Context);

impl<'a> Counted<'a> {
    fn open(context: &'a Context) -> Counted<'a> {
        context.metrics.connection_opened("ws");
        Counted(context)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.metrics.connection_closed("ws");
    }
}

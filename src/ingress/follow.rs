//! Event streams: one subscriber's events as the body of a response that does not end by itself.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::auth::Caller;
use crate::call::{Fault, Kind};
use crate::channel::{Happened, Position, Subscriber};
use crate::context::Context;
use crate::dialect::http::{ALIVE, block, stream_start};

/// Pieces that may wait for the socket, and their size.
const PIECES: usize = 4;
const PIECE: usize = 16 * 1024;
/// A client that takes not a piece for this long, while some wait, is too slow.
const STALL: Duration = Duration::from_secs(3);

/// The body: ends when its feeder does.
pub(super) struct Stream(mpsc::Receiver<Bytes>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Subscribes, and feeds a stream with what comes of it. `cut` is cancelled for a client that is
/// too slow, or whose token is no more: its connection has to end, because it would read the end of
/// the stream no sooner than the rest.
pub(super) async fn follow(
    context: &Context,
    caller: Caller,
    channel: &Arc<str>,
    since: Option<Position>,
    cut: &CancellationToken,
) -> Result<Stream, Fault> {
    let room = context.config.limits.send_queue / 4 * 3;
    let ended = caller.ended();
    let mut subscriber = context.hub.subscriber(caller, room);
    subscriber.subscribe(0, channel, since)?;
    let subscribed = match next(&mut subscriber).await {
        Happened::Subscribed(_, outcome) => outcome?,
        Happened::Event(_) | Happened::Overrun => {
            return Err(Fault::new(
                Kind::Internal,
                "an event before its subscription",
            ));
        }
    };
    let (sender, receiver) = mpsc::channel(PIECES);
    let feeder = Feeder {
        subscriber,
        sender,
        context: context.clone(),
        cut: cut.clone(),
    };
    let (start, cut) = (stream_start(&subscribed), cut.clone());
    context.tasks.spawn(async move {
        tokio::select! {
            () = feeder.run(start) => {}
            // Not even what waits is for a token that was revoked.
            () = ended => cut.cancel(),
        }
    });
    Ok(Stream(receiver))
}

struct Feeder {
    subscriber: Subscriber,
    sender: mpsc::Sender<Bytes>,
    context: Context,
    cut: CancellationToken,
}

impl Feeder {
    /// Until the client goes away, is too slow, or the drain begins.
    async fn run(mut self, start: String) {
        let drain = self.context.drain.clone();
        let mut alive = interval(self.context.config.limits.ping);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        alive.reset();
        let mut piece = Bytes::from(start);
        loop {
            match timeout(STALL, self.sender.send(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(_gone)) => return,
                Err(_stalled) => return self.cut_off(),
            }
            piece = tokio::select! {
                () = drain.cancelled() => return,
                () = self.sender.closed() => return,
                happened = next(&mut self.subscriber) => match self.gather(happened) {
                    Some(piece) => piece,
                    None => return self.cut_off(),
                },
                _ = alive.tick() => Bytes::from_static(ALIVE.as_bytes()),
            };
        }
    }

    /// As many events as are there already, up to the size of a piece. `None` if some were lost.
    fn gather(&mut self, first: Happened) -> Option<Bytes> {
        let mut piece = BytesMut::new();
        let mut happened = Some(first);
        while let Some(one) = happened {
            match one {
                Happened::Event(placed) => piece.extend_from_slice(block(&placed).as_bytes()),
                Happened::Subscribed(..) => {}
                Happened::Overrun => return None,
            }
            let full = piece.len() >= PIECE;
            happened = match full {
                true => None,
                false => next(&mut self.subscriber).now_or_never(),
            };
        }
        Some(piece.freeze())
    }

    fn cut_off(&self) {
        self.context.metrics.limit_reached("send_queue");
        self.cut.cancel();
    }
}

async fn next(subscriber: &mut Subscriber) -> Happened {
    poll_fn(|cx| subscriber.poll_next(cx)).await
}

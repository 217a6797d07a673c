//! What waits to be sent on one connection: bounded in bytes, and in how long nothing moves.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Sink as _;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::Socket;
use crate::call::Text;

/// A client that takes not a byte for this long, while something waits, is too slow.
const STALL: Duration = Duration::from_secs(3);

/// The queue before a socket.
pub(super) struct Outbox {
    waiting: VecDeque<Text>,
    bytes: usize,
    /// `limits.send_queue`.
    limit: usize,
    /// Bytes that may wait: the limit, or as many as there were at once.
    room: usize,
    /// Something was given to the socket that may not have left it.
    unflushed: bool,
    /// Since when nothing moves, and what had been written by then.
    stalled: Option<(Instant, u64)>,
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Outbox {
        Outbox {
            waiting: VecDeque::new(),
            bytes: 0,
            limit,
            room: limit,
            unflushed: false,
            stalled: None,
        }
    }

    pub(super) fn push(&mut self, text: Text) {
        self.bytes += text.size();
        self.waiting.push_back(text);
    }

    /// Whether everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.unflushed
    }

    /// Whether so much waits that no more should be made for now.
    pub(super) fn is_half_full(&self) -> bool {
        self.bytes >= self.limit / 2
    }

    /// Whether events may be put behind what waits. Most of the room for them is in front of here,
    /// where one copy serves all readers.
    pub(super) fn takes_events(&self) -> bool {
        self.bytes < self.limit / 4
    }

    /// Whether no more waits than the limit has it.
    pub(super) fn is_within(&self) -> bool {
        self.bytes <= self.limit
    }

    /// Makes room for what waits. What comes at once may be more than the limit: one large message,
    /// or answers in their order, which waited for a slow one. That is not the client's slowness.
    pub(super) fn make_room(&mut self) {
        self.room = self.limit.max(self.bytes);
    }

    /// Whether the client is too slow.
    pub(super) fn is_over(&self) -> bool {
        self.bytes > self.room
    }

    /// Whether nothing has moved for too long.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
            .is_some_and(|(since, _)| since.elapsed() >= STALL)
    }

    /// When that will be, as things stand.
    pub(super) fn stalls_at(&self) -> Option<Instant> {
        self.stalled.map(|(since, _)| since + STALL)
    }

    /// Writes as much as the socket takes: all messages first, then one flush.
    pub(super) fn poll_send(
        &mut self,
        socket: &mut Socket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let sent = self.poll_all(socket, cx);
        self.stalled = match sent {
            Poll::Ready(_) => None,
            Poll::Pending => {
                let written = socket.get_ref().written();
                match self.stalled {
                    Some((since, before)) if before == written => Some((since, before)),
                    _ => Some((Instant::now(), written)),
                }
            }
        };
        sent
    }

    fn poll_all(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.waiting.is_empty() {
            ready!(Pin::new(&mut *socket).poll_ready(cx))?;
            if let Some(text) = self.waiting.pop_front() {
                self.bytes -= text.size();
                self.unflushed = true;
                // It is UTF-8, so nothing is lost here.
                let text = Utf8Bytes::try_from(text.into_bytes()).unwrap_or_default();
                Pin::new(&mut *socket).start_send(Message::Text(text))?;
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut *socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a ping, unless the socket is busy: what waits there will show soon enough whether
    /// the client is alive.
    pub(super) fn ping(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Result<(), Error> {
        if let Poll::Ready(ready) = Pin::new(&mut *socket).poll_ready(cx) {
            ready?;
            self.unflushed = true;
            Pin::new(&mut *socket).start_send(Message::Ping(Default::default()))?;
        }
        Ok(())
    }
}

//! Bytes in and out: packets that came are taken up, messages that wait are written.

use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::Instant;

use super::{End, Going};
use crate::call::unix_ms;
use crate::dialect::mqtt::{self, Reason};
use crate::ingress::mqtt_listener::opening;

/// Bytes that are read, and written, at once.
const PIECE: usize = 8 * 1024;

impl Going {
    /// What is under way, or waits to be sent, keeps a client with too much of it waiting.
    pub(super) fn may_read(&self) -> bool {
        let room = self.context.config.limits.send_queue / 2;
        self.closing.is_none() && !self.conversation.is_full() && self.out.len() < room
    }

    pub(super) fn poll_read(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<usize>> {
        // On the stack, because most connections are idle most of the time.
        let mut piece = [std::mem::MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut piece);
        let read = Pin::new(&mut self.socket).poll_read(cx, &mut piece);
        read.map_ok(|()| {
            self.input.extend_from_slice(piece.filled());
            piece.filled().len()
        })
    }

    /// Takes up the packets that are there.
    pub(super) fn feed(&mut self) {
        let most = opening::most(&self.context.config.limits);
        let mut effects = Vec::new();
        while self.closing.is_none() && !self.conversation.is_full() {
            let packet = match mqtt::frame(&self.input, most) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    self.heard = Instant::now();
                    let body = &self.input[frame.start..frame.end];
                    let packet = mqtt::packet(self.conversation.version(), frame.head, body);
                    self.input.advance(frame.end);
                    packet
                }
                Err(reason) => Err(reason),
            };
            match packet {
                Ok(packet) => {
                    let mut state = self.device.lock();
                    if !state.is_of(self.connection) {
                        return; // another connection has the session
                    }
                    let session = &mut state.session;
                    let (out, effects) = (&mut self.out, &mut effects);
                    self.conversation.packet(packet, session, out, effects);
                }
                Err(reason) => {
                    if reason == Reason::PacketTooLarge {
                        self.context.metrics.limit_reached("message");
                    }
                    self.closing = Some(End::Close(reason));
                }
            }
            for effect in effects.drain(..) {
                self.apply(effect);
            }
        }
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Writes what waits in the session, as much as goes to the socket at once.
    pub(super) fn fill(&mut self) {
        if self.out.len() >= PIECE || self.closing.is_some() {
            return;
        }
        let mut state = self.device.lock();
        if !state.is_of(self.connection) {
            return;
        }
        let mut gone = Vec::new();
        let (session, out) = (&mut state.session, &mut self.out);
        self.conversation
            .send(session, unix_ms(), PIECE, out, |message| {
                gone.extend(message.stored.then_some(message.seq));
            });
        drop(state);
        for seq in gone {
            self.forget(seq);
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut TaskContext<'_>) -> io::Result<()> {
        loop {
            while !self.out.is_empty() {
                match Pin::new(&mut self.socket).poll_write(cx, &self.out)? {
                    Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(count) => {
                        self.out.advance(count);
                        self.unflushed = true;
                        self.stalled = None;
                    }
                    Poll::Pending => {
                        self.stalled.get_or_insert_with(Instant::now);
                        return Ok(());
                    }
                }
            }
            self.out = BytesMut::new();
            if self.unflushed {
                match Pin::new(&mut self.socket).poll_flush(cx)? {
                    Poll::Ready(()) => (self.unflushed, self.stalled) = (false, None),
                    Poll::Pending => {
                        self.stalled.get_or_insert_with(Instant::now);
                        return Ok(());
                    }
                }
            }
            self.fill();
            if self.out.is_empty() {
                return Ok(());
            }
        }
    }
}

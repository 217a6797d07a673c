//! The loop itself: what came in goes to the dialect, what the dialect wants is carried out.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use futures_util::{FutureExt as _, Stream as _};
use hyper::body::Bytes;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Socket;
use super::accounts::Accounts;
use super::calls::Calls;
use super::channels::{Channels, News};
use super::outbox::Outbox;
use super::pulse::{Due, Pulse};
use crate::auth::Caller;
use crate::context::Context;
use crate::dialect::{CloseCode, Effect, Effects, Request, Session, Ticket};
use crate::ingress::action::Desk;
use crate::target::{Mail, Seat};

/// Messages, outcomes and asks that are taken up before others get their turn.
const TURN: usize = 64;
/// How often a draining worker looks whether its work is over.
const LOOK: Duration = Duration::from_millis(10);

/// How a session ended.
pub(super) enum End {
    /// The client is gone, or closed the connection itself.
    Gone,
    /// It is to be closed, with this code and reason.
    Close(CloseCode, &'static str),
    /// It leaves too much unread, or reads nothing for too long.
    Unread,
}

impl End {
    /// After an error: with the close code that RFC 6455 §7.4.1 has for it.
    pub(super) fn of(error: &Error, context: &Context) -> End {
        match error {
            Error::Capacity(_) => {
                context.metrics.limit_reached("message");
                End::Close(CloseCode::TooBig, "message too large")
            }
            Error::Utf8(_) => End::Close(CloseCode::BadText, "not valid UTF-8"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
            Error::Protocol(_) => End::Close(CloseCode::Protocol, "protocol error"),
            _ => End::Gone,
        }
    }
}

/// One client's session.
pub(super) struct Talk {
    socket: Socket,
    session: Box<dyn Session>,
    context: Context,
    effects: Effects,
    calls: Calls,
    channels: Channels,
    accounts: Accounts,
    outbox: Outbox,
    /// Taken with the client's first offer.
    seat: Option<Box<Seat>>,
    pulse: Pulse,
    clock: Pin<Box<Sleep>>,
    /// How it is closed where the dialect bounds how long the client may be silent.
    silent: (CloseCode, &'static str),
    /// Asked for by the dialect; done when everything before it was sent.
    closing: Option<(CloseCode, &'static str)>,
    draining: bool,
}

impl Talk {
    pub(super) fn new(
        socket: Socket,
        caller: Caller,
        session: Box<dyn Session>,
        desk: Option<Arc<Desk>>,
        context: Context,
    ) -> Talk {
        let limits = &context.config.limits;
        let patience = session.must_pong().then_some(limits.pong);
        let pulse = Pulse::new(limits.ping, patience);
        Talk {
            socket,
            session,
            accounts: Accounts::at(desk),
            effects: Effects::new(),
            calls: Calls::new(caller.clone(), context.clone()),
            channels: Channels::new(caller, context.clone()),
            outbox: Outbox::new(limits.send_queue),
            seat: None,
            clock: Box::pin(tokio::time::sleep_until(pulse.next())),
            pulse,
            silent: (CloseCode::Done, "silent"),
            closing: None,
            draining: false,
            context,
        }
    }

    /// Until the client leaves, misbehaves, or has to go. Whatever it had under way ends here.
    pub(super) async fn run(mut self: Box<Self>) -> (End, Socket) {
        self.session.opened(&mut self.effects);
        self.carry_out();
        let (drain, stop) = (self.context.drain.clone(), self.context.stop.clone());
        let mut caller_ended = pin!(self.calls.caller().ended());
        let end = loop {
            // The drain always comes first, so that one of the two is looked out for at a time.
            let signal = if self.draining { &stop } else { &drain };
            tokio::select! {
                biased;
                end = poll_fn(|cx| self.poll(cx)) => break end,
                () = &mut caller_ended => {
                    break End::Close(CloseCode::Revoked, "the token was revoked or has expired");
                }
                () = signal.cancelled() => {}
            }
            if self.draining {
                break End::Close(CloseCode::Drain, "shutting down");
            }
            self.draining = true;
        };
        (end, self.socket)
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<End> {
        let mut turn = TURN;
        // Whoever said that there is nothing more wakes this task, and need not be asked again.
        let (mut read, mut worked) = (false, false);
        loop {
            let before = turn;
            // What is under way already keeps a client with too much of it waiting.
            while turn > 0 && !read && !self.channels.is_full() && !self.accounts.is_full() {
                match self.poll_incoming(cx) {
                    Poll::Ready(Ok(())) => (turn, worked) = (turn - 1, false),
                    Poll::Ready(Err(end)) => return Poll::Ready(end),
                    Poll::Pending => read = true,
                }
            }
            // Nothing more is made for a client that does not read what is there.
            while turn > 0 && !worked && !self.outbox.is_half_full() {
                let asked_all = self.outbox.takes_events();
                if self.poll_work(cx).is_ready() {
                    turn -= 1;
                } else if asked_all {
                    worked = true;
                } else {
                    break;
                }
            }
            if let Poll::Ready(Err(_broken)) = self.outbox.poll_send(&mut self.socket, cx) {
                return Poll::Ready(End::Gone);
            }
            if self.outbox.is_over() || self.outbox.is_stalled() || self.channels.is_overrun() {
                self.context.metrics.limit_reached("send_queue");
                return Poll::Ready(End::Unread);
            }
            if turn == 0 {
                cx.waker().wake_by_ref();
                break;
            }
            if turn == before || read && worked {
                break;
            }
        }
        if let Some(end) = self.poll_clock(cx) {
            return Poll::Ready(end);
        }
        match self.is_over() {
            Some((code, reason)) => Poll::Ready(End::Close(code, reason)),
            None => Poll::Pending,
        }
    }

    fn poll_incoming(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), End>> {
        let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Poll::Ready(Err(End::of(&error, &self.context))),
            None => return Poll::Ready(Err(End::Gone)),
        };
        match message {
            Message::Text(text) => self.message(text.into(), true),
            Message::Binary(bytes) => self.message(bytes, false),
            Message::Pong(_) => self.pulse.pong(),
            // Pings and the client's close frame are answered by the library, on the next read.
            Message::Ping(_) | Message::Close(_) | Message::Frame(_) => {}
        }
        Poll::Ready(Ok(()))
    }

    fn message(&mut self, message: Bytes, is_text: bool) {
        self.pulse.heard();
        if self.closing.is_none() {
            match is_text {
                true => self.session.message(message, &mut self.effects),
                false => self.session.binary(message, &mut self.effects),
            }
            self.carry_out();
        }
    }

    /// Takes up one outcome, one piece of news, one event or one piece of mail.
    fn poll_work(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if let Poll::Ready((ticket, data)) = self.calls.poll_news(cx) {
            self.session.progress(ticket, &data, &mut self.effects);
        } else if let Poll::Ready((ticket, outcome)) = self.calls.poll_outcome(cx) {
            self.session.outcome(ticket, outcome, &mut self.effects);
        } else if let Some(seat) = &mut self.seat
            && let Poll::Ready(Some(mail)) = seat.poll_mail(cx)
        {
            match mail {
                Mail::Ask(number, ask) => {
                    self.session.ask(number, &ask, &mut self.effects);
                    seat.hand_over(number, *ask);
                }
                Mail::Cancelled(number) => {
                    if seat.forget(number) {
                        self.session.ask_cancelled(number, &mut self.effects);
                    }
                }
            }
        } else if let Poll::Ready((ticket, answered)) = self.accounts.poll(cx) {
            self.session.answered(ticket, answered, &mut self.effects);
        } else if let Poll::Ready(news) = self.channels.poll(cx, self.outbox.takes_events()) {
            match news {
                News::Told(ticket, told) => self.session.told(ticket, told, &mut self.effects),
                News::Event(placed) => self.session.event(&placed, &mut self.effects),
            }
        } else {
            return Poll::Pending;
        }
        self.carry_out();
        Poll::Ready(())
    }

    /// Carries out what the dialect wants, in order, and what comes of that.
    fn carry_out(&mut self) {
        let within = self.outbox.is_within();
        while !self.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.apply(effect);
            }
            if self.effects.is_empty() {
                self.effects = effects; // keeps its room for the next time
            }
        }
        if within {
            self.outbox.make_room();
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Send(text) => self.outbox.push(text),
            Effect::Call(ticket, request) => {
                let caller = self.calls.caller().clone();
                self.call(ticket, caller, request);
            }
            Effect::CallAs(ticket, caller, request) => self.call(ticket, caller, request),
            Effect::Account(ticket, question) => self.accounts.ask(ticket, question),
            Effect::Cancel(ticket) => self.calls.cancel(ticket),
            Effect::Publish(ticket, channel, payload) => {
                if let Err(fault) = self.channels.publish(ticket, channel, payload) {
                    self.session.told(ticket, Err(fault), &mut self.effects);
                }
            }
            Effect::Subscribe(ticket, channel, since) => {
                if let Err(fault) = self.channels.subscribe(ticket, &channel, since) {
                    self.session.told(ticket, Err(fault), &mut self.effects);
                }
            }
            Effect::Unsubscribe(ticket, channel) => {
                let told = self.channels.unsubscribe(&channel);
                self.session.told(ticket, Ok(told), &mut self.effects);
            }
            Effect::Do(ticket, deed) => self.channels.carry_out(ticket, deed),
            Effect::Silence(most, code, reason) => {
                self.pulse.bound_silence(most);
                self.silent = (code, reason);
            }
            Effect::Look(ticket, query) => self.channels.look(ticket, query),
            Effect::Status(ticket, id) => self.channels.status(ticket, id),
            Effect::Close(code, reason) => self.closing = Some((code, reason)),
            Effect::Limit(limit) => self.context.metrics.limit_reached(limit),
            Effect::Serve {
                methods,
                concurrency,
            } => self
                .seat
                .get_or_insert_with(|| Box::new(Seat::take(&self.context.workers)))
                .offer(methods, concurrency),
            Effect::Answer(number, answer) => {
                let seat = self.seat.as_mut();
                if !seat.is_some_and(|seat| seat.answer(number, answer)) {
                    self.context.metrics.dropped("ws", "late_reply");
                }
            }
            Effect::Progress(number, data) => {
                if let Some(seat) = &self.seat {
                    seat.progress(number, data);
                }
            }
        }
    }

    fn call(&mut self, ticket: Ticket, caller: Caller, request: Request) {
        if let Err(fault) = self.calls.submit(ticket, caller, request) {
            self.session.outcome(ticket, Err(fault), &mut self.effects);
        }
    }

    /// Pings, notices what stands still, and sees to being woken for it.
    fn poll_clock(&mut self, cx: &mut TaskContext<'_>) -> Option<End> {
        loop {
            match self.pulse.check() {
                Due::Nothing => {}
                Due::Silent => {
                    self.context.metrics.limit_reached("silence");
                    return Some(End::Close(self.silent.0, self.silent.1));
                }
                Due::Dead => {
                    self.context.metrics.limit_reached("pong");
                    return Some(End::Close(CloseCode::TooSlow, "no pong"));
                }
                Due::Ping => {
                    let pinged = self.outbox.ping(&mut self.socket, cx);
                    let sent = pinged.map(|()| self.outbox.poll_send(&mut self.socket, cx));
                    if !matches!(sent, Ok(Poll::Pending | Poll::Ready(Ok(())))) {
                        return Some(End::Gone);
                    }
                }
            }
            let mut next = self.pulse.next();
            if let Some(stall) = self.outbox.stalls_at() {
                next = next.min(stall);
            }
            if self.draining && self.seat.is_some() {
                next = next.min(Instant::now() + LOOK);
            }
            if self.clock.deadline() > next || self.clock.is_elapsed() {
                self.clock.as_mut().reset(next);
            }
            ready_or_none(self.clock.poll_unpin(cx))?;
        }
    }

    /// Whether everything that was to be done is done.
    fn is_over(&self) -> Option<(CloseCode, &'static str)> {
        if !self.outbox.is_empty() {
            return None;
        }
        if self.closing.is_some() {
            return self.closing;
        }
        // A worker stays for as long as anybody may need it.
        let needed = self.seat.is_some() && self.context.dispatcher.in_flight() > 0;
        let idle = self.calls.is_empty() && self.channels.is_idle() && self.accounts.is_idle();
        let done = self.draining && idle && !needed;
        done.then_some((CloseCode::Drain, "shutting down"))
    }
}

fn ready_or_none(poll: Poll<()>) -> Option<()> {
    match poll {
        Poll::Ready(()) => Some(()),
        Poll::Pending => None,
    }
}

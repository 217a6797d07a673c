//! One client's conversation over messages: what a WebSocket dialect is told, and what it wants.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::value::RawValue;

use super::{action, flow};
use crate::auth::Caller;
use crate::call::{CallId, Fault, Outcome, Payload, Text};
use crate::channel::{Kept, Past, Placed, Position, Query, Subscribed};
use crate::oneway::State;
use crate::router::Pattern;
use crate::target::{Ask, WorkerAnswer};

/// Names a call, or what is asked of a channel, within its session. Chosen by the dialect, never
/// used twice.
pub type Ticket = u64;

/// One conversation. It has no clock and no socket: whoever drives it carries out the effects.
pub trait Session: Send {
    /// The connection is open; nothing was received yet.
    fn opened(&mut self, _effects: &mut Effects) {}

    /// A message came in. Nobody has looked whether it is UTF-8: binary frames count as text,
    /// unless the dialect tells them apart.
    fn message(&mut self, message: Bytes, effects: &mut Effects);

    /// A binary message came in.
    fn binary(&mut self, message: Bytes, effects: &mut Effects) {
        self.message(message, effects);
    }

    /// A call that was asked for by [`Effect::Call`] or [`Effect::CallAs`] has its outcome. Told
    /// once for each, but not for calls that were cancelled.
    fn outcome(&mut self, ticket: Ticket, outcome: Outcome, effects: &mut Effects);

    /// The responder of a call sent interim news. It may have had its outcome already.
    fn progress(&mut self, _ticket: Ticket, _data: &RawValue, _effects: &mut Effects) {}

    /// What was asked of a channel is done, or refused. Told once for each.
    fn told(&mut self, _ticket: Ticket, _told: Result<Told, Fault>, _effects: &mut Effects) {}

    /// What was asked of the accounts is answered. Told once for each.
    fn answered(
        &mut self,
        _ticket: Ticket,
        _answered: Result<action::Answer, action::Refusal>,
        _effects: &mut Effects,
    ) {
    }

    /// An event of a channel that was subscribed.
    fn event(&mut self, _placed: &Placed, _effects: &mut Effects) {}

    /// A call is put to this client, which offered its method. `number` comes back in
    /// [`Effect::Answer`].
    fn ask(&mut self, _number: u64, _ask: &Ask, _effects: &mut Effects) {}

    /// Nobody waits for the answer to this ask any more.
    fn ask_cancelled(&mut self, _number: u64, _effects: &mut Effects) {}

    /// Whether a client that does not answer pings is taken for gone. Otherwise it is only pinged,
    /// which keeps what is on the way between open, and notices a peer that is no longer there.
    fn must_pong(&self) -> bool {
        true
    }
}

/// What a dialect wants done, in order.
pub type Effects = Vec<Effect>;

/// One thing that a dialect wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send a text message.
    Send(Text),
    /// Make a call.
    Call(Ticket, Request),
    /// Make a call as somebody else than whom the connection proves.
    CallAs(Ticket, Caller, Request),
    /// Ask the accounts of the endpoint.
    Account(Ticket, action::Question),
    /// Give up a call; it gets no outcome.
    Cancel(Ticket),
    /// Publish, in the order of these effects.
    Publish(Ticket, Arc<str>, Payload),
    /// Subscribe to a channel, from a place on if there is one.
    Subscribe(Ticket, Arc<str>, Option<Position>),
    /// Get no more events of a channel.
    Unsubscribe(Ticket, Arc<str>),
    /// Look into the past of a channel.
    Look(Ticket, Query),
    /// Look how far a one-way call has come.
    Status(Ticket, CallId),
    /// Do something that takes time, beside everything else.
    Do(Ticket, Deed),
    /// Close the connection like this once no message has come for so long.
    Silence(Duration, CloseCode, &'static str),
    /// Close the connection, after what was sent before.
    Close(CloseCode, &'static str),
    /// This client answers these methods from now on, and no others. None withdraws the offer.
    Serve {
        /// What it answers. Its caller was permitted to.
        methods: Vec<Pattern>,
        /// How many calls at once.
        concurrency: usize,
    },
    /// A limit of this name was reached; it is to be counted.
    Limit(&'static str),
    /// This client answered an ask.
    Answer(u64, WorkerAnswer),
    /// This client has interim news about an ask.
    Progress(u64, Box<RawValue>),
}

/// What came of something that was asked of a channel, or of a one-way call.
#[derive(Debug)]
pub enum Told {
    /// An event may be believed to be safe.
    Published(Kept),
    /// Events follow.
    Subscribed(Subscribed),
    /// No events follow. Says whether there was a subscription.
    Unsubscribed(bool),
    /// A part of the past.
    Past(Past),
    /// How far a one-way call has come.
    Status(CallId, State),
    /// What a deed of the dialect `flow` came to.
    Flow(flow::Done),
}

/// Something of a dialect's own that takes time. Dropping it gives it up.
pub struct Deed(pub BoxFuture<'static, Result<Told, Fault>>);

impl fmt::Debug for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deed")
    }
}

/// A call as a client asks for it.
#[derive(Debug)]
pub struct Request {
    /// The method, as it was written.
    pub method: Arc<str>,
    /// What it is called with.
    pub params: Payload,
    /// How long the client waits; `limits.timeout` unless it says so.
    pub timeout: Option<Duration>,
    /// An idempotency key.
    pub key: Option<Arc<str>>,
    /// Whether the client can take interim news.
    pub progress: bool,
    /// Whether it may wait for a place when the connection has as many calls under way as it may.
    /// Parts of a batch do: their client could not have sent them later.
    pub patient: bool,
}

/// Why a connection is closed (RFC 6455 §7.4; from 4000 on callway's own).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each name says it
#[repr(u16)]
pub enum CloseCode {
    Done = 1000,
    Drain = 1001,
    Protocol = 1002,
    BadText = 1007,
    Policy = 1008,
    TooBig = 1009,
    InvalidToken = 4000,
    Unauthenticated = 4001,
    Revoked = 4003,
    TooSlow = 4008,
    TooManyConnections = 4009,
    Handshake = 4013,
}

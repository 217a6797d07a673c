//! The loop of one connection: reads and writes at once, carries out what the client wants, and
//! hands it what waits in its session.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, timeout};

use super::calls::Asked;
use super::device::{Device, State};
use super::devices::Claim;
use super::socket::Socket;
use super::worker::Worker;
use super::{events, kept, opening, subscriptions};
use crate::auth::Source;
use crate::call::{Fault, Kind, unix_ms};
use crate::channel::Keeping;
use crate::context::Context;
use crate::dialect::mqtt::topic::{ANSWERS, CALLS, below};
use crate::dialect::mqtt::{
    self, Conversation, Effect, Message, Publish, Reason, Ticket, Version, encode,
};

/// Turns that one connection takes before others get theirs.
const TURNS: usize = 16;
/// Bytes that are read, and written, at once.
const PIECE: usize = 8 * 1024;
/// A client that takes not a byte for this long, while something waits, is too slow.
const STALL: Duration = Duration::from_secs(10);
/// How long the last words may take, and what still comes is read and thrown away: closing a
/// socket with unread bytes resets it, and a reset may overtake the last words.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often a draining worker looks whether its work is over.
const LOOK: Duration = Duration::from_millis(10);
/// When nothing is due.
const LATER: Duration = Duration::from_secs(86_400);

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The client is gone without a word, or wants its will published.
    Lost,
    /// It said goodbye.
    Goodbye,
    /// It is to go, and is told why.
    Close(Reason),
}

/// Something that took its time.
enum Done {
    /// A message of the client is kept, or refused.
    Settled(Settled, Result<(), Fault>),
    /// A subscription is in place.
    Subscribed(u16, Vec<u8>, Vec<Message>),
    Unsubscribed(u16, Vec<u8>),
    /// It is noted that the client has received a message of QoS 2.
    Received(u16),
}

#[derive(Clone, Copy)]
struct Settled {
    ticket: Ticket,
    qos: u8,
    id: u16,
}

type Work<T> = FuturesUnordered<BoxFuture<'static, T>>;

/// What a connection begins with.
pub(super) struct Talk {
    conversation: Conversation,
    keep_alive: Duration,
    most: Duration,
    out: BytesMut,
}

/// A connection that goes on.
struct Going {
    socket: Box<dyn Socket>,
    device: Arc<Device>,
    connection: u64,
    context: Context,
    source: Source,
    /// The longest that a session outlives its connection here.
    most: Duration,
    conversation: Conversation,
    input: BytesMut,
    out: BytesMut,
    /// Goes on after the connection, so that what was taken is kept or refused once.
    keeping: Work<Done>,
    /// Is cancelled with the connection.
    calls: Work<Message>,
    worker: Worker,
    /// One and a half times what the client promised; none if it promised nothing.
    keep_alive: Option<Duration>,
    heard: Instant,
    stalled: Option<Instant>,
    unflushed: bool,
    clock: Pin<Box<Sleep>>,
    closing: Option<End>,
    draining: bool,
}

impl Talk {
    /// The session outlives the connection by `most` at the longest.
    pub(super) fn new(
        conversation: Conversation,
        keep_alive: u16,
        most: Duration,
        out: BytesMut,
    ) -> Talk {
        let keep_alive = Duration::from_secs(keep_alive.into()) * 3 / 2;
        Talk {
            conversation,
            keep_alive,
            most,
            out,
        }
    }

    /// Until the client leaves, misbehaves, or has to go.
    pub(super) async fn run(
        self,
        socket: Box<dyn Socket>,
        claim: Claim,
        context: Context,
        (source, input): (Source, BytesMut),
    ) {
        context.metrics.connection_opened("mqtt");
        let taken_over = claim.taken_over.clone();
        let going = Going {
            socket,
            device: claim.device,
            connection: claim.connection,
            source,
            most: self.most,
            conversation: self.conversation,
            input,
            out: self.out,
            keeping: Work::new(),
            calls: Work::new(),
            worker: Worker::default(),
            keep_alive: Some(self.keep_alive).filter(|time| !time.is_zero()),
            heard: Instant::now(),
            stalled: None,
            unflushed: true,
            clock: Box::pin(tokio::time::sleep(LATER)),
            closing: None,
            draining: false,
            context: context.clone(),
        };
        going.run(taken_over).await;
        context.metrics.connection_closed("mqtt");
    }
}

impl Going {
    async fn run(mut self, taken_over: tokio_util::sync::CancellationToken) {
        let (drain, stop) = (self.context.drain.clone(), self.context.stop.clone());
        let mut caller_ended = pin!(self.device.caller.ended());
        let end = loop {
            // The drain always comes first, so that one of the two is looked out for at a time.
            let signal = if self.draining { &stop } else { &drain };
            tokio::select! {
                biased;
                () = taken_over.cancelled() => break End::Close(Reason::SessionTakenOver),
                end = poll_fn(|cx| self.poll(cx)) => break end,
                () = &mut caller_ended => break End::Close(Reason::NotAuthorized),
                () = signal.cancelled() => {}
            }
            if self.draining {
                break End::Close(Reason::ServerShuttingDown);
            }
            self.draining = true;
        };
        self.leave(end).await;
    }

    async fn leave(self, end: End) {
        let Going {
            mut socket,
            device,
            connection,
            context,
            conversation,
            mut out,
            keeping,
            calls,
            worker,
            ..
        } = self;
        drop((calls, worker));
        if !keeping.is_empty() {
            context.tasks.spawn(finish(device.clone(), keeping));
        }
        let lost = !matches!(end, End::Goodbye | End::Close(Reason::ServerShuttingDown));
        if let Some(devices) = context.devices.get() {
            devices.leave(&device, connection, lost);
        }
        drop(device);
        if let End::Close(reason) = end {
            encode::disconnect(conversation.version(), reason, &mut out);
            tracing::debug!(?reason, "an MQTT connection is closed");
        }
        let farewell = async {
            socket.write_all(&out).await?;
            socket.flush().await?;
            socket.shutdown().await?;
            let mut rest = [0; 256];
            while socket.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // It may be gone already, or may not care.
        let _gone = timeout(FAREWELL, farewell).await;
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<End> {
        self.device.register(cx.waker());
        let mut turns = TURNS;
        loop {
            let mut moved = false;
            if self.may_read() {
                match self.poll_read(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(End::Lost),
                    Poll::Ready(Ok(_)) => moved = true,
                    Poll::Pending => {}
                }
            }
            self.feed();
            moved |= self.poll_work(cx);
            self.fill();
            if self.poll_write(cx).is_err() {
                return Poll::Ready(End::Lost);
            }
            if let Some(end) = self.closing {
                return Poll::Ready(end);
            }
            if !moved {
                break;
            }
            turns -= 1;
            if turns == 0 {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.poll_clock(cx)
    }

    /// What is under way, or waits to be sent, keeps a client with too much of it waiting.
    fn may_read(&self) -> bool {
        let room = self.context.config.limits.send_queue / 2;
        self.closing.is_none() && !self.conversation.is_full() && self.out.len() < room
    }

    fn poll_read(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<usize>> {
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
    fn feed(&mut self) {
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
                    if !is_own(&state, self.connection) {
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

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Message(ticket, publish) => self.message(ticket, publish),
            Effect::Subscribe(id, identifier, wishes) => {
                let (hub, served) = (&self.context.hub, &mut self.worker.served);
                let answered =
                    subscriptions::subscribe(hub, &self.device, served, identifier, wishes);
                if answered.serves {
                    self.worker.offer(&self.context);
                }
                let done = Done::Subscribed(id, answered.codes, answered.lasts);
                self.once_kept(done);
            }
            Effect::Unsubscribe(id, filters) => {
                let served = &mut self.worker.served;
                let (codes, serves) = subscriptions::unsubscribe(&self.device, served, &filters);
                if serves {
                    self.worker.offer(&self.context);
                }
                self.once_kept(Done::Unsubscribed(id, codes));
            }
            Effect::Forget(seq) => self.forget(seq),
            Effect::Release(seq, id) => {
                let store = &self.device.shared.store;
                let noted = store.release_message(self.device.number, seq);
                let noted = async move {
                    kept_by(noted).await;
                    Done::Received(id)
                };
                self.keeping.push(noted.boxed());
            }
            Effect::Received => {
                let noted = note_received(self.device.clone());
                if let Some(noted) = noted {
                    // Nobody waits for it: noted too long is no harm.
                    drop(noted);
                }
            }
            Effect::Expiry(seconds) => {
                let wanted = Duration::from_secs(seconds.into());
                let mut state = self.device.lock();
                state.expiry = wanted.min(self.most);
            }
            Effect::Close(Some(reason)) => self.closing = Some(End::Close(reason)),
            Effect::Close(None) => self.closing = Some(End::Goodbye),
            Effect::CloseWithWill => self.closing = Some(End::Lost),
        }
    }

    fn forget(&self, seq: u64) {
        let forgotten = self
            .device
            .shared
            .store
            .forget_message(self.device.number, seq);
        if let Err(fault) = forgotten {
            tracing::debug!(%fault, "an acknowledged message may be sent again after a restart");
        }
    }

    /// What a message means: the topic says it.
    fn message(&mut self, ticket: Ticket, publish: Publish) {
        let settled = Settled {
            ticket,
            qos: publish.qos,
            id: publish.id,
        };
        if let Some(number) = below(ANSWERS, &publish.topic) {
            let version = self.conversation.version();
            if !self.worker.answer(version, number, &publish) {
                self.context.metrics.dropped("mqtt", "late_reply");
            }
            return self.settle(settled, Ok(()));
        }
        if below(CALLS, &publish.topic).is_some() {
            return self.call(settled, publish);
        }
        match events::publish(&self.context.hub, &self.device, publish) {
            Ok(_receipt) if settled.qos == 0 => {}
            Ok(receipt) => self.keep(settled, async move { receipt.kept().await.map(drop) }),
            Err(fault) => self.settle(settled, Err(fault)),
        }
    }

    fn call(&mut self, settled: Settled, publish: Publish) {
        let asked = Asked::read(&self.context, publish);
        let caller = self.device.caller.clone();
        let (context, source) = (self.context.clone(), self.source.clone());
        let limit = self.context.config.limits.in_flight_per_connection;
        if !asked.is_waited_for() {
            if settled.qos == 0 && self.keeping.len() >= mqtt::RECEIVE_MAXIMUM.into() {
                self.context
                    .metrics
                    .limit_reached("in_flight_per_connection");
                return self.context.metrics.dropped("mqtt", "no_place");
            }
            return self.keep(settled, asked.accepted(context, caller, source));
        }
        if self.calls.len() >= limit {
            self.context
                .metrics
                .limit_reached("in_flight_per_connection");
            let message = format!("this connection has {limit} calls under way already");
            let fault = Fault::new(Kind::Overloaded, message);
            let refusal = asked.refused(&context, fault.with_retry_after(FAREWELL));
            self.push(refusal);
            return self.settle(settled, Ok(()));
        }
        let one_way = asked.is_one_way(&context);
        let answered = asked.answered(context, caller, source);
        if !one_way || settled.qos == 0 {
            // On arrival: the outcome of a call is its reply.
            self.settle(settled, Ok(()));
            return self.calls.push(answered.boxed());
        }
        // It is on disk, or its caller is told that it is not.
        let device = self.device.clone();
        self.keep(settled, async move {
            let message = answered.await;
            device.push(&mut device.lock(), message);
            Ok(())
        });
    }

    /// Acknowledges a message once it is kept.
    fn keep(
        &mut self,
        settled: Settled,
        kept: impl Future<Output = Result<(), Fault>> + Send + 'static,
    ) {
        let device = self.device.clone();
        let keeping = async move {
            let outcome = kept.await;
            if settled.qos == 2
                && outcome.is_ok()
                && let Some(noted) = note_received(device)
            {
                kept_by(noted).await;
            }
            Done::Settled(settled, outcome)
        };
        self.keeping.push(keeping.boxed());
    }

    /// Puts the subscriptions on disk first, where they are to outlive the connection.
    fn once_kept(&mut self, done: Done) {
        let state = self.device.lock();
        if !state.kept {
            drop(state);
            return self.done(done);
        }
        let kept = kept::device(&self.device, &state, None);
        let (tell, told) = tokio::sync::oneshot::channel();
        // Whoever waits may have gone away.
        let told_by = move |outcome| tell.send(outcome).unwrap_or_default();
        let kept = self.device.shared.store.keep_device(kept, told_by);
        drop(state);
        let keeping = async move {
            kept_by(kept.map(|()| told)).await;
            done
        };
        self.keeping.push(keeping.boxed());
    }

    fn done(&mut self, done: Done) {
        let version = self.conversation.version();
        match done {
            Done::Settled(settled, outcome) => self.settle(settled, outcome),
            Done::Subscribed(id, codes, lasts) => {
                encode::suback(version, id, &codes, &mut self.out);
                for last in lasts {
                    self.push(last);
                }
            }
            Done::Unsubscribed(id, codes) => encode::unsuback(version, id, &codes, &mut self.out),
            Done::Received(id) => self.conversation.release(id, &mut self.out),
        }
    }

    fn settle(&mut self, settled: Settled, outcome: Result<(), Fault>) {
        let mut reason = Reason::Success;
        if let Err(fault) = outcome {
            self.context.metrics.dropped("mqtt", "refused");
            tracing::debug!(caller = self.device.caller.name(), kind = %fault.kind,
                why = %fault.message, "a message of an MQTT client was refused");
            match self.conversation.version() {
                Version::V5 => reason = Reason::of(&fault),
                // MQTT 3.1.1 cannot say no: the client is to send it again.
                Version::V4 if fault.may_pass() && settled.qos > 0 => {
                    self.device.lock().session.release(settled.id);
                    self.closing = Some(End::Close(Reason::ServerUnavailable));
                    return;
                }
                Version::V4 => {}
            }
        }
        if settled.qos > 0 {
            let session = &mut self.device.lock().session;
            self.conversation
                .settle(settled.ticket, reason, session, &mut self.out);
        }
    }

    /// Puts a message of no channel behind the others.
    fn push(&self, message: Message) -> bool {
        let mut state = self.device.lock();
        let room = state.session.has_room();
        self.device.push(&mut state, message);
        room
    }

    /// Says whether anything was done.
    fn poll_work(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let mut moved = false;
        while let Poll::Ready(Some(done)) = self.keeping.poll_next_unpin(cx) {
            self.done(done);
            moved = true;
        }
        while let Poll::Ready(Some(reply)) = self.calls.poll_next_unpin(cx) {
            self.push(reply);
            moved = true;
        }
        while let Poll::Ready(ask) = self.worker.poll(self.conversation.version(), cx) {
            if !self.push(ask.clone()) {
                self.worker.decline(&ask);
            }
            moved = true;
        }
        moved
    }

    /// Writes what waits in the session, as much as goes to the socket at once.
    fn fill(&mut self) {
        if self.out.len() >= PIECE || self.closing.is_some() {
            return;
        }
        let mut state = self.device.lock();
        if !is_own(&state, self.connection) {
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

    fn poll_write(&mut self, cx: &mut TaskContext<'_>) -> io::Result<()> {
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

    /// Notices who is silent and what stands still, and sees to being woken for it.
    fn poll_clock(&mut self, cx: &mut TaskContext<'_>) -> Poll<End> {
        loop {
            let now = Instant::now();
            let silent = self.keep_alive.map(|time| self.heard + time);
            let stalled = self.stalled.map(|since| since + STALL);
            if silent.is_some_and(|at| at <= now) {
                return Poll::Ready(End::Close(Reason::KeepAliveTimeout));
            }
            if stalled.is_some_and(|at| at <= now) {
                self.context.metrics.limit_reached("send_queue");
                return Poll::Ready(End::Lost);
            }
            let mut next = [silent, stalled].into_iter().flatten().min();
            if self.draining {
                if self.is_idle() {
                    return Poll::Ready(End::Close(Reason::ServerShuttingDown));
                }
                next = Some(now + LOOK);
            }
            let next = next.unwrap_or(now + LATER);
            if self.clock.deadline() > next || self.clock.is_elapsed() {
                self.clock.as_mut().reset(next);
            }
            if self.clock.poll_unpin(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Whether everything that was to be done is done.
    fn is_idle(&self) -> bool {
        // A worker stays for as long as anybody may need it.
        let needed = self.worker.is_seated() && self.context.dispatcher.in_flight() > 0;
        let done = self.keeping.is_empty() && self.calls.is_empty() && self.out.is_empty();
        done && self.conversation.is_idle() && !needed
    }
}

fn is_own(state: &State, connection: u64) -> bool {
    let own = state.connection.as_ref();
    own.is_some_and(|own| own.number == connection)
}

/// Puts on disk which messages of QoS 2 of a client are noted, where its session is there.
fn note_received(device: Arc<Device>) -> Option<Result<Keeping, Fault>> {
    let state = device.lock();
    let received = state.kept.then(|| kept::received(&state.session))?;
    Some(device.shared.store.keep_received(device.number, received))
}

/// Waits for the disk. What it cannot keep costs no more than that something is sent twice.
async fn kept_by(keeping: Result<Keeping, Fault>) {
    let kept = match keeping {
        Ok(keeping) => keeping.await.unwrap_or(Ok(())),
        Err(fault) => Err(fault),
    };
    if let Err(fault) = kept {
        tracing::debug!(%fault, "the state of an MQTT session is not on disk");
    }
}

/// Finishes what was begun on a connection that is gone: its client sends it again, and is to
/// find it as it ended.
async fn finish(device: Arc<Device>, mut keeping: Work<Done>) {
    while let Some(done) = keeping.next().await {
        if let Done::Settled(settled, Err(_)) = done {
            device.lock().session.release(settled.id);
        }
    }
}

//! The loop of one connection: reads and writes at once, carries out what the client wants, and
//! hands it what waits in its session.

mod effects;
mod keeping;
mod wire;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, timeout};

use self::keeping::finish;
use super::device::Device;
use super::devices::{Claim, Parting};
use super::socket::Socket;
use super::subscriptions::{self, Curious};
use super::worker::Worker;
use crate::auth::Source;
use crate::call::Fault;
use crate::context::Context;
use crate::dialect::mqtt::{Conversation, Message, Reason, Ticket, encode};
use crate::ingress::work::Work;

/// Turns that one connection takes before others get theirs.
const TURNS: usize = 16;
/// A client that takes not a byte for this long, while something waits, is too slow.
const STALL: Duration = Duration::from_secs(10);
/// How long the last words may take, and what still comes is read and thrown away: closing a
/// socket with unread bytes resets it, and a reset may overtake the last words.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often a draining worker looks whether its work is over.
const LOOK: Duration = Duration::from_millis(10);
/// A client of which nothing was heard for this long lets others go first.
const QUIET: Duration = Duration::from_millis(10);
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
    Subscribed(u16, Vec<u8>, Vec<Curious>),
    Unsubscribed(u16, Vec<u8>),
    /// It is noted that the client has received a message of QoS 2.
    Received(u16),
    /// It is noted that it has released one of its own.
    Completed(u16, Result<(), Fault>),
}

#[derive(Clone, Copy)]
struct Settled {
    ticket: Ticket,
    qos: u8,
    id: u16,
}

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
    keeping: Work<BoxFuture<'static, Done>>,
    /// Is cancelled with the connection.
    calls: Work<BoxFuture<'static, Message>>,
    worker: Worker,
    /// Subscriptions whose last events are to be told, one at a time as there is room.
    curious: VecDeque<Curious>,
    /// One and a half times what the client promised; none if it promised nothing.
    keep_alive: Option<Duration>,
    heard: Instant,
    gave_way: bool,
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
        let worker = Worker::resumed(subscriptions::resumed(&claim.device), &context);
        // Boxed, and its end as well, so that nothing is kept twice while it is idle.
        let going = Box::new(Going {
            socket,
            device: claim.device,
            connection: claim.connection,
            source,
            most: self.most,
            conversation: self.conversation,
            input,
            out: self.out,
            keeping: Work::default(),
            calls: Work::default(),
            worker,
            curious: VecDeque::new(),
            keep_alive: Some(self.keep_alive).filter(|time| !time.is_zero()),
            heard: Instant::now(),
            gave_way: false,
            stalled: None,
            unflushed: true,
            clock: Box::pin(tokio::time::sleep(LATER)),
            closing: None,
            draining: false,
            context: context.clone(),
        });
        going.run().await;
        context.metrics.connection_closed("mqtt");
    }
}

impl Going {
    async fn run(mut self: Box<Self>) {
        let (drain, stop) = (self.context.drain.clone(), self.context.stop.clone());
        let mut caller_ended = pin!(self.device.caller.ended());
        let end = loop {
            // The drain always comes first, so that one of the two is looked out for at a time.
            let signal = if self.draining { &stop } else { &drain };
            tokio::select! {
                biased;
                end = poll_fn(|cx| self.poll(cx)) => break end,
                () = &mut caller_ended => break End::Close(Reason::NotAuthorized),
                () = signal.cancelled() => {}
            }
            if self.draining {
                break End::Close(Reason::ServerShuttingDown);
            }
            self.draining = true;
        };
        Box::pin(self.leave(end)).await;
    }

    async fn leave(self: Box<Self>, end: End) {
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
        } = *self;
        drop((calls, worker));
        if !keeping.is_empty() {
            context.tasks.spawn(finish(device.clone(), keeping));
        }
        let parting = match end {
            End::Goodbye => Parting::Goodbye,
            End::Close(Reason::ServerShuttingDown) => Parting::Shutdown,
            End::Lost | End::Close(_) => Parting::Lost,
        };
        if let Some(devices) = context.devices.get() {
            devices.leave(&device, connection, parting);
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
        if !self.device.lock().register(self.connection, cx.waker()) {
            return Poll::Ready(End::Close(Reason::SessionTakenOver));
        }
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
            if self.gives_way() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.feed();
            moved |= self.poll_work(cx);
            self.fill();
            if self.poll_write(cx).is_err() {
                return Poll::Ready(End::Lost);
            }
            moved |= self.tell_lasts();
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

    /// Whether those that were woken before this one are to be heard first, once: the runtime goes
    /// on with the one that was woken last, and so a message would overtake the SUBSCRIBE that
    /// somebody else sent just before it. Where messages follow each other nothing is held up.
    fn gives_way(&mut self) -> bool {
        const PUBLISH: u8 = 0x30;
        let publishes = self
            .input
            .first()
            .is_some_and(|head| head & 0xf0 == PUBLISH);
        let gives = publishes && !self.gave_way && self.heard.elapsed() > QUIET;
        self.gave_way = gives;
        gives
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

    /// Says whether there was a subscription to tell, and room.
    fn tell_lasts(&mut self) -> bool {
        if self.curious.is_empty() || !self.device.lock().session.has_room() {
            return false;
        }
        if let Some(curious) = self.curious.pop_front() {
            subscriptions::tell_lasts(&self.context.hub, &self.device, &curious);
        }
        true
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
        while let Poll::Ready(done) = self.keeping.poll(cx) {
            self.done(done);
            moved = true;
        }
        while let Poll::Ready(reply) = self.calls.poll(cx) {
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

    /// Notices who is silent and what stands still, and sees to being woken for it.
    fn poll_clock(&mut self, cx: &mut TaskContext<'_>) -> Poll<End> {
        loop {
            let now = Instant::now();
            // Who is not listened to is not silent.
            let listens = self.keep_alive.filter(|_| self.may_read());
            let silent = listens.map(|time| self.heard + time);
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

//! What one connection asks of channels, and the events it gets.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::auth::Caller;
use crate::call::{CallId, Fault, Payload, Via};
use crate::channel::{Happened, Origin, Placed, Position, Publish, Query, Subscriber};
use crate::context::Context;
use crate::dialect::{Deed, Ticket, Told};
use crate::ingress::work::Work;

/// Events that are not on disk yet, and looks into the past, that a connection may have under way.
/// With more it is not read on: its client slows down, and nothing is refused.
const MOST_EVENTS: usize = 1024;
const MOST_LOOKS: usize = 8;

type UnderWay = Work<BoxFuture<'static, (Ticket, Result<Told, Fault>)>>;

/// The channels of one connection. Dropping it ends its subscriptions.
pub(super) struct Channels {
    caller: Caller,
    context: Context,
    events: UnderWay,
    looks: UnderWay,
    /// Bounded by the dialect that wants them.
    deeds: UnderWay,
    /// Made with the first subscription.
    subscriber: Option<Box<Subscriber>>,
}

/// Something to tell the dialect.
pub(super) enum News {
    Told(Ticket, Result<Told, Fault>),
    Event(Arc<Placed>),
}

impl Channels {
    pub(super) fn new(caller: Caller, context: Context) -> Channels {
        Channels {
            caller,
            context,
            events: UnderWay::default(),
            looks: UnderWay::default(),
            deeds: UnderWay::default(),
            subscriber: None,
        }
    }

    /// Whether nothing is under way that somebody waits for.
    pub(super) fn is_idle(&self) -> bool {
        self.events.is_empty() && self.looks.is_empty() && self.deeds.is_empty()
    }

    /// Whether so much is under way that no more should be taken.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= MOST_EVENTS || self.looks.len() >= MOST_LOOKS
    }

    /// Whether events were lost because the client is too slow.
    pub(super) fn is_overrun(&self) -> bool {
        let subscriber = self.subscriber.as_ref();
        subscriber.is_some_and(|subscriber| subscriber.is_overrun())
    }

    /// Publishes now, so that the order is the client's; told once it is kept.
    pub(super) fn publish(
        &mut self,
        ticket: Ticket,
        channel: Arc<str>,
        payload: Payload,
    ) -> Result<(), Fault> {
        let receipt = self.context.hub.publish(Publish {
            channel,
            payload,
            origin: Origin::Client {
                caller: self.caller.clone(),
                via: Via::Ws,
            },
            id: None,
            hops: 0,
            traceparent: None,
            retained: false,
        })?;
        let kept = receipt.kept();
        let told = async move { (ticket, kept.await.map(Told::Published)) };
        self.events.push(told.boxed());
        Ok(())
    }

    pub(super) fn subscribe(
        &mut self,
        ticket: Ticket,
        channel: &Arc<str>,
        since: Option<Position>,
    ) -> Result<(), Fault> {
        let subscriber = self.subscriber.get_or_insert_with(|| {
            let hub = &self.context.hub;
            // The rest of the send queue is for what is on its way to the socket.
            let room = self.context.config.limits.send_queue / 4 * 3;
            Box::new(hub.subscriber(self.caller.clone(), room))
        });
        subscriber.subscribe(ticket, channel, since)
    }

    pub(super) fn unsubscribe(&mut self, channel: &str) -> Told {
        let subscriber = self.subscriber.as_mut();
        Told::Unsubscribed(subscriber.is_some_and(|one| one.unsubscribe(channel)))
    }

    pub(super) fn look(&mut self, ticket: Ticket, query: Query) {
        let (hub, caller) = (self.context.hub.clone(), self.caller.clone());
        let told = async move {
            let past = hub.history(&caller, query).await;
            (ticket, past.map(Told::Past))
        };
        self.looks.push(told.boxed());
    }

    /// Carries out what takes time.
    pub(super) fn carry_out(&mut self, ticket: Ticket, deed: Deed) {
        let told = async move { (ticket, deed.0.await) };
        self.deeds.push(told.boxed());
    }

    pub(super) fn status(&mut self, ticket: Ticket, id: CallId) {
        let (oneway, caller) = (self.context.oneway.clone(), self.caller.clone());
        let told = async move {
            let state = oneway.state(id, caller.name()).await;
            (ticket, state.map(|state| Told::Status(id, state)))
        };
        self.looks.push(told.boxed());
    }

    /// The next thing to tell; events only if there is `room` for them.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>, room: bool) -> Poll<News> {
        for under_way in [&mut self.events, &mut self.looks, &mut self.deeds] {
            if let Poll::Ready((ticket, told)) = under_way.poll(cx) {
                return Poll::Ready(News::Told(ticket, told));
            }
        }
        let Some(subscriber) = self.subscriber.as_mut().filter(|_| room) else {
            return Poll::Pending;
        };
        match subscriber.poll_next(cx) {
            Poll::Ready(Happened::Event(placed)) => Poll::Ready(News::Event(placed)),
            Poll::Ready(Happened::Subscribed(ticket, outcome)) => {
                Poll::Ready(News::Told(ticket, outcome.map(Told::Subscribed)))
            }
            // Seen to by whoever asks whether it is overrun.
            Poll::Ready(Happened::Overrun) | Poll::Pending => Poll::Pending,
        }
    }
}

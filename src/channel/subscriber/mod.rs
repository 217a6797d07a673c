//! One reader: its subscriptions, and its events in order, missed ones first.
//!
//! Whoever subscribes joins first and reads the history then, in pages; what comes in both ways is
//! told once. While a page that is not the last one is being taken, the seat sleeps: what is
//! published meanwhile will be on a later page. A reader that falls behind on a channel with
//! history goes back to reading pages the same way.

mod pages;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use self::pages::{Joining, Read, Taking};
use super::mailbox::{Mailbox, Seat};
use super::{Hub, Placed, Position};
use crate::auth::{Caller, Verb};
use crate::call::{Fault, Kind};

/// Channels of one reader.
const MOST: usize = 1000;

/// What a reader is told.
#[derive(Debug)]
pub enum Happened {
    /// What came of a subscription, by the number it was asked for with. Before its first event.
    Subscribed(u64, Result<Subscribed, Fault>),
    /// The next event.
    Event(Arc<Placed>),
    /// The reader is too slow: events for it were lost, and it has to go.
    Overrun,
}

/// A subscription that is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Where the channel stands.
    pub position: Position,
    /// Everything since the place that was asked for will be told. Never true without one.
    pub recovered: bool,
}

/// One reader. Dropping it ends its subscriptions.
pub struct Subscriber {
    hub: Arc<Hub>,
    caller: Caller,
    mailbox: Arc<Mailbox>,
    subscriptions: HashMap<Arc<str>, Subscription>,
    /// Told before anything else.
    told: VecDeque<(u64, Result<Subscribed, Fault>)>,
    reads: FuturesUnordered<BoxFuture<'static, Read>>,
    /// The last page of channels: comes before what is in the mailbox.
    last_pages: VecDeque<Taking>,
    /// Other pages: there is time for them when the mailbox is empty.
    pages: VecDeque<Taking>,
    next: u64,
    lost: bool,
}

struct Subscription {
    seat: Arc<Seat>,
    /// Tells it from earlier ones of the same channel.
    number: u64,
    /// The last event that was told, or where it began.
    told: Position,
    /// The first page is not here yet.
    joining: Option<Joining>,
    /// A page is being taken that is not the last one: the mailbox has nothing for it.
    paging: bool,
}

impl Hub {
    /// A reader without subscriptions, with room for so many bytes of events that wait for it.
    pub fn subscriber(self: &Arc<Self>, caller: Caller, room: usize) -> Subscriber {
        Subscriber {
            hub: self.clone(),
            caller,
            mailbox: Arc::new(Mailbox::new(room)),
            subscriptions: HashMap::new(),
            told: VecDeque::new(),
            reads: FuturesUnordered::new(),
            last_pages: VecDeque::new(),
            pages: VecDeque::new(),
            next: 0,
            lost: false,
        }
    }
}

impl Subscriber {
    /// Subscribes; what came of it is told later, with this number, before the first event. A
    /// channel that is subscribed already stays so, and begins anew with `since`.
    pub fn subscribe(
        &mut self,
        ticket: u64,
        channel: &Arc<str>,
        since: Option<Position>,
    ) -> Result<(), Fault> {
        let row = self.hub.admit(&self.caller, Verb::Subscribe, channel)?;
        let has_history = row.history.is_some();
        let mut tickets = vec![ticket];
        if let Some(known) = self.subscriptions.get_mut(channel) {
            match (&mut known.joining, since) {
                (None, None) => {
                    let subscribed = Subscribed {
                        position: known.told,
                        recovered: false,
                    };
                    self.told.push_back((ticket, Ok(subscribed)));
                    return Ok(());
                }
                (Some(joining), None) => {
                    joining.tickets.push(ticket);
                    return Ok(());
                }
                (Some(joining), Some(_)) => tickets.append(&mut joining.tickets),
                (None, Some(_)) => {}
            }
            self.unsubscribe(channel);
        }
        if self.subscriptions.len() >= MOST {
            self.hub.metrics.limit_reached("subscriptions");
            let message = format!("this connection has {MOST} subscriptions already");
            return Err(Fault::new(Kind::Overloaded, message));
        }
        let seat = Arc::new(Seat::new(&self.mailbox, has_history));
        let standing = self.hub.live.join(channel, &seat);
        self.hub.metrics.subscriptions(1);
        self.next += 1;
        let mut subscription = Subscription {
            seat,
            number: self.next,
            told: standing.position,
            joining: None,
            paging: false,
        };
        if has_history {
            let seq = since.filter(|since| since.epoch == self.hub.epoch);
            subscription.told = self.hub.position(seq.map_or(0, |since| since.seq));
            subscription.joining = Some(Joining { tickets, since });
        } else {
            let subscribed = Subscribed {
                position: standing.position,
                recovered: since.is_some_and(|since| standing.nothing_since(since)),
            };
            let told = tickets.into_iter().map(|ticket| (ticket, Ok(subscribed)));
            self.told.extend(told);
        }
        self.subscriptions.insert(channel.clone(), subscription);
        if has_history {
            self.read(channel);
        }
        Ok(())
    }

    /// Ends a subscription: nothing of the channel is told any more. Says whether there was one.
    pub fn unsubscribe(&mut self, channel: &str) -> bool {
        let Some((channel, subscription)) = self.subscriptions.remove_entry(channel) else {
            return false;
        };
        self.hub.live.leave(&channel, &subscription.seat);
        self.hub.metrics.subscriptions(-1);
        self.last_pages.retain(|page| page.channel != channel);
        self.pages.retain(|page| page.channel != channel);
        if let Some(joining) = subscription.joining {
            let gone = Fault::new(Kind::Cancelled, "unsubscribed before it was in place");
            let tickets = joining.tickets.into_iter();
            self.told
                .extend(tickets.map(|ticket| (ticket, Err(gone.clone()))));
        }
        true
    }

    /// Whether events were lost, so that [`Happened::Overrun`] is all that is left to tell.
    pub fn is_overrun(&self) -> bool {
        self.lost || self.mailbox.is_overrun()
    }

    /// The next thing to tell. Pending also without subscriptions.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Happened> {
        loop {
            if let Some((ticket, outcome)) = self.told.pop_front() {
                return Poll::Ready(Happened::Subscribed(ticket, outcome));
            }
            if let Poll::Ready(Some(read)) = self.reads.poll_next_unpin(cx) {
                self.take_up(read);
                continue;
            }
            if self.is_overrun() {
                return Poll::Ready(Happened::Overrun);
            }
            if let Some(placed) = self.next_of_last_page() {
                return Poll::Ready(Happened::Event(placed));
            }
            // What is in the mailbox may belong behind what is being read.
            if !self.reads.is_empty() {
                return Poll::Pending;
            }
            if let Poll::Ready(placed) = self.mailbox.poll_pop(cx) {
                if self.wants(&placed) {
                    return Poll::Ready(Happened::Event(placed));
                }
                continue;
            }
            if let Some(placed) = self.next_of_page() {
                return Poll::Ready(Happened::Event(placed));
            }
            if !self.catch_up() {
                return Poll::Pending;
            }
        }
    }

    /// Whether an event from the mailbox is to be told; then it is the last one that was.
    fn wants(&mut self, placed: &Placed) -> bool {
        let subscription = self.subscriptions.get_mut(&placed.event.channel);
        let waits = |one: &&mut Subscription| !one.paging && placed.position.seq > one.told.seq;
        match subscription.filter(waits) {
            Some(subscription) => {
                subscription.told = placed.position;
                true
            }
            None => false,
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        for (channel, subscription) in self.subscriptions.drain() {
            self.hub.live.leave(&channel, &subscription.seat);
            self.hub.metrics.subscriptions(-1);
        }
    }
}

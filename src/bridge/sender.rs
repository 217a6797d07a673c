//! The task of one bus that sends what waits in the spool, in order, and marks what arrived.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, poll};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::out::Out;
use super::record::Header;
use super::suspects::Suspects;
use super::waiters::Waiters;
use crate::auth::Verb;
use crate::call::{Fault, Kind, Payload, unix_ms};
use crate::context::Context;
use crate::spool::{Consumer, Item};
use crate::store::{Letter, LetterKind};

/// Events that a bus may leave unconfirmed.
const WINDOW: usize = 256;
/// How often what waits for a link that is down is looked through for what is too old.
const AGING: Duration = Duration::from_secs(30);
/// The least time between two rounds: where the link is up but its queue is full, the next would
/// fail at once.
const BREATH: Duration = Duration::from_millis(50);
/// A link that was up for less says nothing about what was sent: the broker may just be starting.
const STEADY: Duration = Duration::from_secs(1);
/// The wait before what the broker refused is tried again; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Sends the events of one bus.
pub(super) struct Sender {
    pub(super) context: Context,
    pub(super) bus: Arc<str>,
    pub(super) out: Out,
    pub(super) waiters: Arc<Waiters>,
}

/// What became of an event that was sent.
enum Sent {
    /// The broker confirmed it.
    Arrived(Item),
    /// Nobody can make an event of the record.
    Unreadable(Item),
    /// It was not taken.
    Failed(Item, Box<(Header, Payload, Fault)>),
}

type UnderWay<'a> = FuturesUnordered<BoxFuture<'a, Sent>>;

/// What to do with an event that was not taken.
enum Verdict {
    /// The link is at fault: it goes again, in its order, when the link is back.
    Again,
    /// The broker refused it: it is tried again later, and so is what follows it.
    Later,
    /// It can never be sent.
    Dead,
}

impl Sender {
    /// Sends until the process stops. What was not confirmed then is sent by the next one.
    pub(super) async fn run(self, mut consumer: Consumer) {
        let stop = self.context.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.send_all(&mut consumer) => {}
        }
    }

    async fn send_all(&self, consumer: &mut Consumer) {
        let mut under_way = UnderWay::new();
        let mut suspects = Suspects::default();
        loop {
            // After a loss the rest of the window fails or arrives first: so nothing overtakes.
            self.until_up(consumer, &mut suspects).await;
            let up = Instant::now();
            let mut lost = false;
            while !lost || !under_way.is_empty() {
                tokio::select! {
                    biased;
                    Some(sent) = under_way.next() => lost |= self.settle(sent, &mut suspects).await,
                    item = consumer.next(), if !lost && under_way.len() < WINDOW => {
                        if suspects.contains(item.id) {
                            lost |= self.drain(&mut under_way, &mut suspects).await;
                            // Dropped, it comes again in its order.
                            lost = lost || self.send_alone(item, up, &mut suspects).await;
                            continue;
                        }
                        let mut sending = self.send(item).boxed();
                        // The first poll hands it to the link, so that events go in their order.
                        match poll!(&mut sending) {
                            std::task::Poll::Ready(sent) => {
                                lost |= self.settle(sent, &mut suspects).await;
                            }
                            std::task::Poll::Pending => under_way.push(sending),
                        }
                    }
                }
            }
            sleep(BREATH).await;
        }
    }

    /// Waits for the fate of what is under way; says whether the link was lost.
    async fn drain(&self, under_way: &mut UnderWay<'_>, suspects: &mut Suspects) -> bool {
        let mut lost = false;
        while let Some(sent) = under_way.next().await {
            lost |= self.settle(sent, suspects).await;
        }
        lost
    }

    /// Sends an event that may cost the link while nothing else is under way; says whether the
    /// link was lost.
    async fn send_alone(&self, item: Item, up: Instant, suspects: &mut Suspects) -> bool {
        sleep_until(up + STEADY).await;
        let begun = Instant::now();
        let sent = self.send(item).await;
        match sent {
            Sent::Failed(item, failure)
                if is_loss(&failure.2) && suspects.lost_alone(item.id, begun.elapsed()) =>
            {
                let (header, payload, _lost) = *failure;
                let why = "the broker closes the connection whenever it gets this event";
                let fault = Fault::new(Kind::InvalidRequest, why);
                self.waiters.tell(item.id, false);
                suspects.forget(item.id);
                self.bury(item, &header, &payload, &fault).await;
                true
            }
            sent => self.settle(sent, suspects).await,
        }
    }

    /// Waits for the link. Meanwhile what gets too old goes.
    async fn until_up(&self, consumer: &mut Consumer, suspects: &mut Suspects) {
        while timeout(AGING, self.out.sendable()).await.is_err() {
            while let Some(item) = consumer.next().now_or_never() {
                if !self.is_old(&item) {
                    break; // the oldest comes first, and this gives it back
                }
                let sent = self.send(item).await;
                self.settle(sent, suspects).await;
            }
        }
    }

    async fn send(&self, item: Item) -> Sent {
        let Some((header, payload)) = Header::unpack(&item.body) else {
            return Sent::Unreadable(item);
        };
        let outcome = match self.check(&header, &item) {
            Ok(()) => self.out.publish(&self.context, &header, &payload).await,
            Err(fault) => Err(fault),
        };
        match outcome {
            Ok(()) => Sent::Arrived(item),
            // The broker has it; nobody has subscribed.
            Err(fault) if fault.kind == Kind::NoResponder => Sent::Arrived(item),
            Err(fault) => Sent::Failed(item, Box::new((header, payload, fault))),
        }
    }

    /// Who may not publish any more does not, and what is too old is not sent.
    fn check(&self, header: &Header, item: &Item) -> Result<(), Fault> {
        if self.is_old(item) {
            self.context.metrics.limit_reached("spool_age");
            return Err(Fault::new(Kind::InvalidRequest, "it waited too long"));
        }
        let Some(name) = &header.caller else {
            return Ok(());
        };
        let caller = self.context.auth.by_name(name);
        match caller.is_some_and(|caller| caller.may(Verb::Publish, &header.channel)) {
            true => Ok(()),
            false => Err(Fault::new(
                Kind::Forbidden,
                "its publisher has no grant for the channel any more",
            )),
        }
    }

    fn is_old(&self, item: &Item) -> bool {
        let age = unix_ms().saturating_sub(item.accepted);
        Duration::from_millis(age) > self.context.config.limits.spool_age
    }

    /// Says whether the link was lost.
    async fn settle(&self, sent: Sent, suspects: &mut Suspects) -> bool {
        let (item, failure) = match sent {
            Sent::Arrived(item) => {
                self.waiters.tell(item.id, true);
                suspects.forget(item.id);
                item.done();
                return false;
            }
            Sent::Unreadable(item) => {
                // Its checksum was right, so another callway wrote it; nobody can send it.
                self.context.metrics.dropped("spool", "unreadable");
                item.done();
                return false;
            }
            Sent::Failed(item, failure) => (item, failure),
        };
        let (header, payload, fault) = *failure;
        self.waiters.tell(item.id, false);
        match Verdict::of(&fault) {
            Verdict::Again => {
                if is_loss(&fault) {
                    suspects.lost(item.id);
                }
                drop(item);
                true
            }
            Verdict::Later => {
                tracing::warn!(bus = %self.bus, channel = %header.channel, %fault,
                    "an event was refused; it is tried again");
                let wait = FIRST_WAIT * 2u32.pow(item.attempts.min(10));
                item.later(wait.min(LONGEST_WAIT));
                false
            }
            Verdict::Dead => {
                suspects.forget(item.id);
                self.bury(item, &header, &payload, &fault).await;
                false
            }
        }
    }

    async fn bury(&self, item: Item, header: &Header, payload: &Payload, fault: &Fault) {
        tracing::warn!(bus = %self.bus, channel = %header.channel, %fault, "an event is dead");
        let (kind, channel, body) = (LetterKind::Event, &header.channel, payload.bytes().clone());
        let letter = Letter::new(kind, channel, &header.via, fault, header, body);
        match self.context.bury(letter).await {
            Ok(()) => item.done(),
            // It stays where it is until it can be buried.
            Err(_not_kept) => item.later(LONGEST_WAIT),
        }
    }
}

/// Whether the link was lost after the event was handed to it.
fn is_loss(fault: &Fault) -> bool {
    fault.kind == Kind::Unavailable && fault.reason().as_deref() == Some("link_lost")
}

impl Verdict {
    fn of(fault: &Fault) -> Verdict {
        match (fault.kind, fault.reason().as_deref()) {
            (Kind::Unavailable, Some("refused" | "exchange")) => Verdict::Later,
            (Kind::Unavailable | Kind::Overloaded | Kind::Timeout | Kind::ShuttingDown, _) => {
                Verdict::Again
            }
            _ => Verdict::Dead,
        }
    }
}

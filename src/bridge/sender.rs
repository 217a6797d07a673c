//! The task of one bus that sends what waits in the spool, in order, and marks what arrived.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, poll};
use tokio::time::{sleep, timeout};

use super::out::Out;
use super::record::Header;
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
        let mut under_way: FuturesUnordered<BoxFuture<'_, Sent>> = FuturesUnordered::new();
        loop {
            // After a loss the rest of the window fails or arrives first: so nothing overtakes.
            self.until_up(consumer).await;
            let mut lost = false;
            while !lost || !under_way.is_empty() {
                tokio::select! {
                    biased;
                    Some(sent) = under_way.next() => lost |= self.settle(sent).await,
                    item = consumer.next(), if !lost && under_way.len() < WINDOW => {
                        let mut sending = self.send(item).boxed();
                        // The first poll hands it to the link, so that events go in their order.
                        match poll!(&mut sending) {
                            std::task::Poll::Ready(sent) => lost |= self.settle(sent).await,
                            std::task::Poll::Pending => under_way.push(sending),
                        }
                    }
                }
            }
            sleep(BREATH).await;
        }
    }

    /// Waits for the link. Meanwhile what gets too old goes.
    async fn until_up(&self, consumer: &mut Consumer) {
        while timeout(AGING, self.out.sendable()).await.is_err() {
            while let Some(item) = consumer.next().now_or_never() {
                if !self.is_old(&item) {
                    break; // the oldest comes first, and this gives it back
                }
                let sent = self.send(item).await;
                self.settle(sent).await;
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
    async fn settle(&self, sent: Sent) -> bool {
        let (item, failure) = match sent {
            Sent::Arrived(item) => {
                self.waiters.tell(item.id, true);
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
            Verdict::Again => drop(item),
            Verdict::Later => {
                tracing::warn!(bus = %self.bus, channel = %header.channel, %fault,
                    "an event was refused; it is tried again");
                let wait = FIRST_WAIT * 2u32.pow(item.attempts.min(10));
                item.later(wait.min(LONGEST_WAIT));
                return false;
            }
            Verdict::Dead => {
                self.bury(item, &header, &payload, &fault).await;
                return false;
            }
        }
        true
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

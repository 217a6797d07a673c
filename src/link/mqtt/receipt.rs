//! Acknowledgements by hand: given in any order, sent in the order of arrival, as the standard
//! demands (MQTT 5.0 §4.6).
//!
//! The ledger outlives its connections. A broker sends again what it has no acknowledgement for;
//! what was settled meanwhile, or is still being taken, is recognised and not handed on twice. It
//! is recognised by what it says: not every broker keeps the packet identifiers (RabbitMQ does
//! not).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{Delivery, Properties};

/// Messages that may wait for their receipts, large ones counted more than once: 4,096, and 32 MiB.
const PLACES: u32 = 4096;
/// Bytes that take one place.
const PLACE: usize = 8 * 1024;

/// Names one message to the broker while it is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// The packet identifier.
    pub id: u16,
    /// 1 or 2.
    pub qos: u8,
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Fate {
    Open,
    Settled,
    Refused,
}

struct Flag(AtomicU8);

impl Flag {
    fn set(&self, fate: Fate) {
        self.0.store(fate as u8, Ordering::Release);
    }

    fn is(&self, fate: Fate) -> bool {
        self.0.load(Ordering::Acquire) == fate as u8
    }
}

/// The right to acknowledge one message. Dropping it does not: the connection is then given up and
/// made anew, so that the broker sends the message again (MQTT has no other way to refuse one).
/// What is refused for ever so costs a connection every few seconds; hold the receipt instead
/// while there is hope.
#[must_use = "dropping it makes the broker send the message again"]
pub struct Receipt(Option<Held>);

struct Held {
    flag: Arc<Flag>,
    ledger: Arc<Ledger>,
    _place: Place,
}

impl Receipt {
    /// For a message of QoS 0, which is never acknowledged.
    pub(super) fn trivial() -> Receipt {
        Receipt(None)
    }

    /// The message is safe: the broker may forget it.
    pub fn ack(mut self) {
        if let Some(held) = self.0.take() {
            held.settle(Fate::Settled);
        }
    }

    /// callway stops: the broker keeps the message, and sends it to whoever comes next.
    pub fn leave(mut self) {
        if let Some(held) = self.0.take() {
            held.settle(Fate::Refused);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            held.ledger.refused.store(true, Ordering::Release);
            held.settle(Fate::Refused);
        }
    }
}

impl Held {
    fn settle(self, fate: Fate) {
        self.flag.set(fate);
        self.ledger.open.fetch_sub(1, Ordering::AcqRel);
        self.ledger.news.notify_one();
    }
}

/// Room for one message until its receipt is settled.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// What was taken and not yet told to the broker, in the order of arrival.
pub(super) struct Ledger {
    books: Mutex<Books>,
    /// Receipts that are out.
    open: AtomicUsize,
    refused: AtomicBool,
    news: Notify,
    places: Arc<Semaphore>,
    prints: RandomState,
}

/// One message.
struct Taken {
    tag: Tag,
    print: u64,
    flag: Arc<Flag>,
}

#[derive(Default)]
struct Books {
    /// Came on the connection of now.
    here: VecDeque<Taken>,
    /// Came on the one before, which ended before the broker was told. Not kept any longer: a
    /// broker drops what expires, and the same words may then be news.
    before: HashMap<u64, VecDeque<Arc<Flag>>>,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send these, in this order.
    Acks(Vec<Tag>),
    /// A message was refused.
    Refused,
    /// Every receipt is settled, and told unless it was left.
    Nothing,
}

impl Ledger {
    pub fn new() -> Arc<Ledger> {
        Arc::new(Ledger {
            books: Mutex::default(),
            open: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
            news: Notify::new(),
            places: Arc::new(Semaphore::new(PLACES as usize)),
            prints: RandomState::new(),
        })
    }

    /// A connection was made. Unless the broker went on with the session, it sends nothing again.
    pub fn begin(&self, resumed: bool) {
        let mut books = self.books.lock();
        books.before.clear();
        let here = std::mem::take(&mut books.here);
        for taken in here {
            if resumed && !taken.flag.is(Fate::Refused) {
                let same = books.before.entry(taken.print).or_default();
                same.push_back(taken.flag);
            }
        }
    }

    /// What a message is recognised by.
    pub fn print(&self, delivery: &Delivery) -> u64 {
        let Properties {
            response_topic,
            correlation,
            content_type,
            user,
            expiry: _, // counted down by the broker
        } = &delivery.properties;
        let Delivery { topic, payload, .. } = delivery;
        let all = (
            topic,
            payload,
            response_topic,
            correlation,
            content_type,
            user,
        );
        self.prints.hash_one(all)
    }

    /// Whether a message that the broker sends again is known from the connection before, and so
    /// not to be handed on: it is acknowledged when its first receipt is.
    pub fn knows(&self, tag: Tag, print: u64) -> bool {
        let mut books = self.books.lock();
        let Some(flag) = books.before.get_mut(&print).and_then(VecDeque::pop_front) else {
            return false;
        };
        if flag.is(Fate::Refused) {
            return false;
        }
        books.here.push_back(Taken { tag, print, flag });
        self.news.notify_one();
        true
    }

    /// Whether the broker sends more than there are packet identifiers.
    pub fn is_overdrawn(&self) -> bool {
        self.books.lock().here.len() > usize::from(u16::MAX)
    }

    /// Waits until there is room for a message of this size.
    pub async fn place(&self, size: usize) -> Option<Place> {
        let places = u32::try_from(1 + size / PLACE).unwrap_or(PLACES);
        let taken = self.places.clone().acquire_many_owned(places.min(PLACES));
        taken.await.ok().map(|permit| Place { _permit: permit })
    }

    /// A message came that is handed on now.
    pub fn receipt(self: &Arc<Ledger>, tag: Tag, print: u64, place: Place) -> Receipt {
        let flag = Arc::new(Flag(AtomicU8::new(Fate::Open as u8)));
        self.books.lock().here.push_back(Taken {
            tag,
            print,
            flag: flag.clone(),
        });
        self.open.fetch_add(1, Ordering::AcqRel);
        Receipt(Some(Held {
            flag,
            ledger: self.clone(),
            _place: place,
        }))
    }

    /// What is to be done now, without waiting: settled messages from the oldest on, up to the
    /// first that is not.
    fn look(&self) -> Option<Due> {
        let mut books = self.books.lock();
        let settled = |taken: &&Taken| taken.flag.is(Fate::Settled);
        let count = books.here.iter().take_while(settled).count();
        if count > 0 {
            let acks = books.here.drain(..count).map(|taken| taken.tag);
            return Some(Due::Acks(acks.collect()));
        }
        let refused = |taken: &Taken| taken.flag.is(Fate::Refused);
        if self.refused.swap(false, Ordering::AcqRel) && books.here.iter().any(refused) {
            return Some(Due::Refused);
        }
        // What is still there then was left to the broker.
        (self.open.load(Ordering::Acquire) == 0).then_some(Due::Nothing)
    }

    /// Waits for something to do.
    pub async fn due(&self) -> Due {
        loop {
            match self.look() {
                Some(due @ (Due::Acks(_) | Due::Refused)) => return due,
                _ => self.news.notified().await,
            }
            // Mostly many are kept together. Those who hear of it after the first run now, so that
            // all acknowledgements leave with one write.
            tokio::task::yield_now().await;
        }
    }

    /// The same, and tells also when there is nothing left to wait for.
    pub async fn last(&self) -> Due {
        loop {
            match self.look() {
                Some(due) => return due,
                None => self.news.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests;

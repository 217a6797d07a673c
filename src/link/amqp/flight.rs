//! Messages between their publishing and their confirmation, with one look at the deadlines for
//! all of them.
//!
//! Nobody is woken by a confirmation: whoever owns the flight looks now and then. Confirmations
//! come in the order of publishing as a rule, and many at once, so a look at the oldest mostly
//! tells all; and a call whose reply has come needs no other news.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lapin::Channel;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use tokio::time::Instant;

use super::Outgoing;
use super::publisher::Purpose;

/// Messages that the broker may leave unconfirmed; beyond it the queue waits.
const UNCONFIRMED: usize = 4096;

/// Between two looks at what is confirmed, while something is not.
const LOOK: Duration = Duration::from_millis(1);
/// The same while there is nothing but requests: mostly their replies come first, and tell more.
const LOOK_FOR_REQUESTS: Duration = Duration::from_millis(5);

/// What became of a message.
pub(super) enum Fate {
    /// Taken, or (nack) not; with a message that found no queue, if there was one.
    Confirmed {
        refused: bool,
        returned: Option<Box<BasicReturnMessage>>,
    },
    Failed(lapin::Error),
    /// Not confirmed by the end of its deadline and grace.
    Overdue,
}

/// The messages under way. `F` is the future of [`confirmed`], which has no name.
pub(super) struct Flight<F> {
    /// In the order of publishing.
    confirms: VecDeque<(u64, Pin<Box<F>>)>,
    /// Those that failed at once.
    failed: Vec<(u64, Fate)>,
    /// What a message means, and when it is overdue. Whoever gave up on one is not here any more,
    /// but its confirmation is still to come.
    waiting: HashMap<u64, (Purpose, Instant)>,
    next: u64,
}

/// What a message meant, if anybody still cares, and what became of it.
pub(super) type Settled = (Option<Purpose>, Fate);

impl<F: Future<Output = Fate>> Flight<F> {
    pub fn new() -> Flight<F> {
        Flight {
            confirms: VecDeque::new(),
            failed: Vec::new(),
            waiting: HashMap::new(),
            next: 0,
        }
    }

    /// How many more may start now.
    pub fn room(&self) -> usize {
        UNCONFIRMED.saturating_sub(self.confirms.len())
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.confirms.is_empty() && self.failed.is_empty()
    }

    /// One starts; in the order of these calls they are published.
    pub fn start(&mut self, purpose: Purpose, last: Instant, publish: F) {
        self.next += 1;
        self.waiting.insert(self.next, (purpose, last));
        let mut confirm = Box::pin(publish);
        // The first poll publishes it.
        match look_at(&mut confirm) {
            Some(fate) => self.failed.push((self.next, fate)),
            None => self.confirms.push_back((self.next, confirm)),
        }
    }

    /// Those that reached their fate, up to the oldest that did not.
    pub fn oldest(&mut self) -> Vec<Settled> {
        let mut known = std::mem::take(&mut self.failed);
        while let Some((number, confirm)) = self.confirms.front_mut()
            && let Some(fate) = look_at(confirm)
        {
            known.push((*number, fate));
            self.confirms.pop_front();
        }
        self.meant(known)
    }

    /// All that reached their fate.
    pub fn all(&mut self) -> Vec<Settled> {
        let mut known = std::mem::take(&mut self.failed);
        self.confirms
            .retain_mut(|(number, confirm)| match look_at(confirm) {
                Some(fate) => {
                    known.push((*number, fate));
                    false
                }
                None => true,
            });
        self.meant(known)
    }

    fn meant(&mut self, known: Vec<(u64, Fate)>) -> Vec<Settled> {
        let known = known.into_iter();
        let meant = known.map(|(number, fate)| {
            let purpose = self.waiting.remove(&number);
            (purpose.map(|(purpose, _last)| purpose), fate)
        });
        meant.collect()
    }

    /// Takes out what is overdue.
    pub fn overdue(&mut self) -> Vec<Purpose> {
        let now = Instant::now();
        self.take(|_, last| *last <= now)
    }

    /// Takes out the requests.
    pub fn requests(&mut self) -> Vec<Purpose> {
        self.take(|purpose, _| matches!(purpose, Purpose::Request(_)))
    }

    /// How long the next look at all can wait.
    pub fn patience(&self) -> Duration {
        let purposes = self.waiting.values().map(|(purpose, _last)| purpose);
        purposes
            .map(patience_for)
            .min()
            .unwrap_or(LOOK_FOR_REQUESTS)
    }

    /// Whether everything under way is overdue, and there is no room for more.
    pub fn is_stuck(&self) -> bool {
        self.room() == 0 && self.waiting.is_empty()
    }

    fn take(&mut self, which: impl Fn(&Purpose, &Instant) -> bool) -> Vec<Purpose> {
        let taken = self
            .waiting
            .extract_if(|_, (purpose, last)| which(purpose, last));
        taken.map(|(_, (purpose, _))| purpose).collect()
    }
}

/// How long the fate of a message may wait to be looked at.
pub(super) fn patience_for(purpose: &Purpose) -> Duration {
    match purpose {
        Purpose::Request(_) => LOOK_FOR_REQUESTS,
        Purpose::Answer(_) | Purpose::Park(_) | Purpose::Event(_) => LOOK,
    }
}

/// Asks without being woken later.
fn look_at<F: Future<Output = Fate>>(confirm: &mut Pin<Box<F>>) -> Option<Fate> {
    match confirm
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(fate) => Some(fate),
        Poll::Pending => None,
    }
}

/// Publishes a message and waits for the broker's word.
pub(super) async fn confirmed(channel: &Channel, mandatory: bool, message: Outgoing) -> Fate {
    let options = BasicPublishOptions {
        mandatory,
        immediate: false,
    };
    let properties = message.properties.with_headers(message.headers);
    let (exchange, key) = (message.exchange, message.routing_key);
    let sent = channel.basic_publish(exchange, key, options, &message.body, properties);
    let confirmed = async { sent.await?.await };
    match confirmed.await {
        Ok(confirmation) => Fate::Confirmed {
            refused: confirmation.is_nack(),
            returned: confirmation.take_message().map(Box::new),
        },
        Err(error) => Fate::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn refused(refused: bool) -> Fate {
        let returned = None;
        Fate::Confirmed { refused, returned }
    }

    /// Starts a request that fails, or is confirmed when the broker says so.
    fn start<F: Future<Output = Fate>>(flight: &mut Flight<F>, key: u128, word: F) {
        let last = Instant::now() + Duration::from_secs(key as u64);
        flight.start(Purpose::Request(key), last, word);
    }

    fn keys(settled: Vec<Settled>) -> Vec<Option<u128>> {
        let keys = settled.into_iter().map(|(purpose, _fate)| match purpose? {
            Purpose::Request(key) => Some(key),
            _ => None,
        });
        keys.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_overdue_is_given_up_and_still_heard_of() {
        let mut flight = Flight::new();
        let mut brokers = Vec::new();
        for seconds in [1, 9] {
            let (broker, word) = oneshot::channel();
            brokers.push(broker);
            let word = async move { refused(word.await.unwrap()) };
            start(&mut flight, seconds, word);
        }
        assert!(flight.overdue().is_empty());
        tokio::time::advance(Duration::from_secs(5)).await;
        let overdue = flight.overdue();
        assert!(matches!(overdue[..], [Purpose::Request(1)]));
        assert!(flight.overdue().is_empty(), "told once");

        for broker in brokers {
            broker.send(false).unwrap();
        }
        assert_eq!(keys(flight.oldest()), [None, Some(9)]);
        assert!(flight.is_empty());
    }

    #[tokio::test]
    async fn one_that_is_slow_hides_the_others_from_a_short_look_only() {
        let mut flight = Flight::new();
        let mut brokers = Vec::new();
        for key in 1..=4 {
            let (broker, word) = oneshot::channel();
            brokers.push(broker);
            let word = async move { refused(word.await.unwrap_or(true)) };
            start(&mut flight, key, word);
        }
        let slow = brokers.remove(1);
        drop(brokers);
        assert_eq!(keys(flight.oldest()), [Some(1)]);
        assert_eq!(keys(flight.oldest()), []);
        assert_eq!(keys(flight.all()), [Some(3), Some(4)]);
        slow.send(false).unwrap();
        assert_eq!(keys(flight.oldest()), [Some(2)]);
        assert!(flight.is_empty());
    }

    #[tokio::test]
    async fn one_that_fails_at_once_is_told_with_the_next_look() {
        let mut flight = Flight::new();
        start(&mut flight, 7, async { refused(true) });
        assert!(!flight.is_empty());
        assert_eq!(keys(flight.oldest()), [Some(7)]);
        assert!(flight.is_empty());
    }
}

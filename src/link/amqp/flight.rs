//! Messages between their publishing and their confirmation, with one look at the deadlines for
//! all of them.

use std::collections::HashMap;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::Channel;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use tokio::time::Instant;

use super::Outgoing;
use super::publisher::Purpose;

/// Messages that the broker may leave unconfirmed; beyond it the queue waits.
const UNCONFIRMED: usize = 4096;

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
    confirms: FuturesUnordered<F>,
    /// What a message means, and when it is overdue. Whoever gave up on one is not here any more,
    /// but its confirmation is still to come.
    waiting: HashMap<u64, (Purpose, Instant)>,
    next: u64,
}

impl<F: Future<Output = (u64, Fate)>> Flight<F> {
    pub fn new() -> Flight<F> {
        Flight {
            confirms: FuturesUnordered::new(),
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
        self.confirms.is_empty()
    }

    /// One starts; in the order of these calls they are published.
    pub fn start(&mut self, purpose: Purpose, last: Instant, publish: impl FnOnce(u64) -> F) {
        self.next += 1;
        self.waiting.insert(self.next, (purpose, last));
        self.confirms.push(publish(self.next));
    }

    /// The next that reached its fate, and what it means if anybody still cares. `None` if nothing
    /// is under way.
    pub async fn next(&mut self) -> Option<(Option<Purpose>, Fate)> {
        let (number, fate) = self.confirms.next().await?;
        let purpose = self.waiting.remove(&number).map(|(purpose, _)| purpose);
        Some((purpose, fate))
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

/// Publishes a message and waits for the broker's word.
pub(super) async fn confirmed(
    number: u64,
    channel: &Channel,
    mandatory: bool,
    message: Outgoing,
) -> (u64, Fate) {
    let options = BasicPublishOptions {
        mandatory,
        immediate: false,
    };
    let properties = message.properties.with_headers(message.headers);
    let (exchange, key) = (message.exchange, message.routing_key);
    let sent = channel.basic_publish(exchange, key, options, &message.body, properties);
    let confirmed = async { sent.await?.await };
    let fate = match confirmed.await {
        Ok(confirmation) => Fate::Confirmed {
            refused: confirmation.is_nack(),
            returned: confirmation.take_message().map(Box::new),
        },
        Err(error) => Fate::Failed(error),
    };
    (number, fate)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    fn refused(refused: bool) -> Fate {
        let returned = None;
        Fate::Confirmed { refused, returned }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_overdue_is_given_up_and_still_heard_of() {
        let mut flight = Flight::new();
        let mut brokers = Vec::new();
        for seconds in [1, 9] {
            let (broker, word) = oneshot::channel();
            brokers.push(broker);
            let last = Instant::now() + Duration::from_secs(seconds);
            flight.start(
                Purpose::Request(seconds.into()),
                last,
                |number| async move { (number, refused(word.await.unwrap())) },
            );
        }
        assert!(flight.overdue().is_empty());
        tokio::time::advance(Duration::from_secs(5)).await;
        let overdue = flight.overdue();
        assert!(matches!(overdue[..], [Purpose::Request(1)]));
        assert!(flight.overdue().is_empty(), "told once");

        for broker in brokers {
            broker.send(false).unwrap();
        }
        let (late, in_time) = (flight.next().await.unwrap(), flight.next().await.unwrap());
        assert!(late.0.is_none());
        assert!(matches!(in_time.0, Some(Purpose::Request(9))));
        assert!(flight.is_empty());
    }
}

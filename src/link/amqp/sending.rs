//! One session on the sending connection: what is published, confirmed, returned and replied.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::message::{BasicReturnMessage, Delivery as RawDelivery};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::connect::{Events, Open, answer};
use super::exchanges::RECHECK;
use super::message::REPLIES;
use super::publisher::{Publish, Purpose};
use super::watch::{News, Watch};
use super::{Message, Shared, Standing, blocked, no_responder};
use crate::call::Fault;

/// Messages that the broker may leave unconfirmed; beyond it the queue waits.
const UNCONFIRMED: usize = 4096;
/// Messages taken from the queue at once.
const BATCH: usize = 64;
/// How long after its deadline a message may still be confirmed.
const GRACE: Duration = Duration::from_secs(1);

/// The channels of a session.
pub(super) struct Channels {
    /// Requests go out and, as direct reply-to demands, replies come in here.
    pub requests: Channel,
    pub replies: Consumer,
    /// Answers have their own: an address that the broker refuses closes its channel.
    answers: Channel,
}

/// Opens the channels and starts to take replies.
pub(super) async fn setup(open: &Open) -> Result<Channels, String> {
    let (requests, answers) = (open.channel().await?, open.channel().await?);
    for channel in [&requests, &answers] {
        let asked = channel.confirm_select(ConfirmSelectOptions::default());
        answer("confirms", asked).await?;
    }
    let options = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    let asked = requests.basic_consume(REPLIES.into(), "".into(), options, FieldTable::default());
    Ok(Channels {
        replies: answer("direct reply-to", asked).await?,
        requests,
        answers,
    })
}

/// The state of one session.
pub(super) struct Sending {
    open: Open,
    channels: Channels,
    watch: Watch,
    shared: Arc<Shared>,
    /// Each is one message from its publishing to its confirmation.
    unconfirmed: FuturesUnordered<futures_util::future::BoxFuture<'static, (Purpose, Fate)>>,
    /// The requests among them.
    requests: HashSet<u128>,
    blocked: bool,
}

/// What became of a message.
enum Fate {
    /// Taken, or (nack) not; with a message that found no queue, if there was one.
    Confirmed {
        refused: bool,
        returned: Option<Box<BasicReturnMessage>>,
    },
    Failed(lapin::Error),
    /// Not confirmed by the end of its deadline and grace.
    Overdue,
}

impl Sending {
    pub fn new(open: Open, events: Events, channels: Channels, shared: Arc<Shared>) -> Sending {
        Sending {
            watch: Watch::new(&open, events, &[&channels.requests, &channels.answers], 0),
            open,
            channels,
            shared,
            unconfirmed: FuturesUnordered::new(),
            requests: HashSet::new(),
            blocked: false,
        }
    }

    /// Serves until the connection is of no more use; says why.
    pub async fn run(&mut self, messages: &mut mpsc::Receiver<Publish>) -> String {
        let mut batch = Vec::with_capacity(BATCH);
        let mut recheck = tokio::time::interval(RECHECK);
        recheck.reset();
        loop {
            let room = UNCONFIRMED
                .saturating_sub(self.unconfirmed.len())
                .min(BATCH);
            tokio::select! {
                biased;
                Some((purpose, fate)) = self.unconfirmed.next() => {
                    if let Err(why) = self.settle(purpose, fate) {
                        return why;
                    }
                }
                reply = self.channels.replies.next() => match reply {
                    Some(Ok(reply)) => self.reply(reply),
                    Some(Err(error)) => return self.lost(error.to_string()),
                    None => {
                        let why = self.watch.why();
                        return self.lost(why);
                    }
                },
                _ = messages.recv_many(&mut batch, room), if room > 0 => {
                    for publish in batch.drain(..) {
                        self.send(publish);
                    }
                }
                news = self.watch.next() => match news {
                    News::Blocked => self.block(),
                    News::Unblocked => self.unblock(),
                    News::Lost(why) => return self.lost(why),
                },
                _ = recheck.tick(), if self.shared.exchanges.any_trouble() => {
                    self.shared.exchanges.look(&self.open, true).await;
                }
            }
        }
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.open.close().await;
    }

    /// Publishes one message; its confirmation is taken up by the session.
    pub fn send(&mut self, publish: Publish) {
        let Publish {
            message,
            purpose,
            deadline,
        } = publish;
        let channel = match &purpose {
            // Nobody waits any more.
            Purpose::Request(_) if deadline.passed() => return,
            Purpose::Request(key) if self.blocked => return self.shared.fail(*key, blocked()),
            Purpose::Request(key) => {
                self.requests.insert(*key);
                self.channels.requests.clone()
            }
            Purpose::Answer(_) | Purpose::Park(_) => self.channels.answers.clone(),
        };
        let options = BasicPublishOptions {
            mandatory: matches!(purpose, Purpose::Request(_)),
            immediate: false,
        };
        let last = deadline.instant() + GRACE;
        let published = async move {
            let properties = message.properties.with_headers(message.headers);
            let (exchange, key) = (message.exchange, message.routing_key);
            let confirmed = async {
                let sent = channel.basic_publish(exchange, key, options, &message.body, properties);
                sent.await?.await
            };
            let fate = match timeout_at(last, confirmed).await {
                Ok(Ok(confirmation)) => Fate::Confirmed {
                    refused: confirmation.is_nack(),
                    returned: confirmation.take_message().map(Box::new),
                },
                Ok(Err(error)) => Fate::Failed(error),
                Err(_) => Fate::Overdue,
            };
            (purpose, fate)
        };
        self.unconfirmed.push(published.boxed());
    }

    /// A message reached its fate. An error ends the session.
    fn settle(&mut self, purpose: Purpose, fate: Fate) -> Result<(), String> {
        if let Purpose::Request(key) = &purpose {
            self.requests.remove(key);
        }
        let refused = match fate {
            Fate::Confirmed { refused, returned } => {
                if let Some(returned) = returned {
                    // With a confirmation of several, it may belong to another of them.
                    self.returned(&returned);
                }
                refused
            }
            Fate::Overdue => true,
            // Dropping the purpose gives a delivery back to the broker.
            Fate::Failed(error) => return Err(self.lost(error.to_string())),
        };
        match purpose {
            Purpose::Request(key) if refused => self.shared.fail(key, not_taken()),
            Purpose::Request(_) => {}
            Purpose::Answer(delivery) => {
                if refused {
                    self.shared.metrics.dropped("amqp", "reply_not_taken");
                }
                // The call was carried out: delivering it again would do so twice.
                delivery.ack();
            }
            Purpose::Park(delivery) if refused => drop(delivery),
            Purpose::Park(delivery) => delivery.ack(),
        }
        Ok(())
    }

    /// The broker found no queue for a request.
    fn returned(&self, message: &BasicReturnMessage) {
        if let Some(key) = key_of(message) {
            self.shared.fail(key, no_responder());
        }
    }

    fn reply(&self, reply: RawDelivery) {
        let reason = match key_of(&reply) {
            None => "foreign_reply",
            Some(key) => {
                let answer = Ok(Message::new(reply));
                match self.shared.pending.complete(&key, answer) {
                    Ok(()) => return,
                    Err(_) => "late_reply",
                }
            }
        };
        self.shared.metrics.dropped("amqp", reason);
    }

    fn block(&mut self) {
        self.blocked = true;
        self.shared.set_standing(Standing::Blocked);
        tracing::warn!(bus = %self.shared.bus, "the broker takes no messages for now");
        // Their requests lie in a socket that the broker does not read.
        for key in self.requests.drain() {
            self.shared.fail(key, blocked().handed_over());
        }
    }

    fn unblock(&mut self) {
        self.blocked = false;
        self.shared.set_standing(Standing::Up);
        tracing::info!(bus = %self.shared.bus, "the broker takes messages again");
    }

    fn lost(&self, why: String) -> String {
        self.shared.exchanges.blame(&why);
        why
    }
}

/// The key of the request that a message belongs to.
pub(super) fn key_of(message: &RawDelivery) -> Option<u128> {
    let id = message.properties.correlation_id().as_ref()?.as_str();
    // Exactly as it was sent: the parser alone would take a sign or capital letters too.
    let key = u128::from_str_radix(id, 16).ok()?;
    (id.len() == 32 && format!("{key:032x}") == id).then_some(key)
}

pub(super) fn not_taken() -> Fault {
    Fault::unavailable(
        "refused",
        "the broker did not take the request; the service's queue may be full",
    )
}

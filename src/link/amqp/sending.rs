//! One session on the sending connection: what is published, confirmed, returned and replied.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::StreamExt as _;
use lapin::message::{BasicReturnMessage, Delivery as RawDelivery};
use lapin::options::{BasicConsumeOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::connect::{Events, Open, answer};
use super::exchanges::RECHECK;
use super::flight::{Fate, Flight, confirmed};
use super::message::REPLIES;
use super::publisher::{Publish, Purpose};
use super::watch::{News, Watch};
use super::{Message, Outgoing, Shared, Standing, blocked, no_responder, unconfirmed};
use crate::call::Fault;

/// Messages taken from the queue at once.
const BATCH: usize = 64;
/// How long after its deadline a message may still be confirmed.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks at the deadlines.
const SWEEP: Duration = Duration::from_millis(200);

/// The channels of a session.
pub(super) struct Channels {
    /// Requests go out and, as direct reply-to demands, replies come in here.
    pub requests: Channel,
    pub replies: Consumer,
    /// Answers have their own: an address that the broker refuses closes its channel.
    answers: Channel,
    /// And so have events.
    events: Channel,
}

/// Opens the channels and starts to take replies.
pub(super) async fn setup(open: &Open) -> Result<Channels, String> {
    let (requests, answers) = (open.channel().await?, open.channel().await?);
    let events = open.channel().await?;
    for channel in [&requests, &answers, &events] {
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
        events,
    })
}

/// The state of one session.
pub(super) struct Sending {
    open: Open,
    watch: Watch,
    shared: Arc<Shared>,
    blocked: bool,
}

/// A message that is published now.
struct Ready {
    message: Outgoing,
    purpose: Purpose,
    last: Instant,
}

impl Sending {
    pub fn new(open: Open, events: Events, channels: &Channels, shared: Arc<Shared>) -> Sending {
        let all = [&channels.requests, &channels.answers, &channels.events];
        Sending {
            watch: Watch::new(&open, events, &all, 0),
            open,
            shared,
            blocked: false,
        }
    }

    /// Serves until the connection is of no more use; says why. Sends first what was `held` back.
    pub async fn run(
        &mut self,
        channels: Channels,
        held: Vec<Publish>,
        messages: &mut mpsc::Receiver<Publish>,
    ) -> String {
        let mut replies = channels.replies.clone();
        let mut flight = Flight::new();
        let mut batch = held;
        let mut recheck = tokio::time::interval(RECHECK);
        recheck.reset();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            for publish in batch.drain(..) {
                let Some(ready) = self.ready(publish) else {
                    continue;
                };
                let (channel, mandatory) = match &ready.purpose {
                    Purpose::Request(_) => (&channels.requests, true),
                    Purpose::Answer(_) | Purpose::Park(_) => (&channels.answers, false),
                    Purpose::Event(_) => (&channels.events, false),
                };
                flight.start(ready.purpose, ready.last, |number| {
                    confirmed(number, channel, mandatory, ready.message)
                });
            }
            let room = flight.room().min(BATCH);
            tokio::select! {
                biased;
                Some((purpose, fate)) = flight.next() => {
                    if let Err(why) = self.settle(purpose, fate) {
                        return why;
                    }
                }
                reply = replies.next() => match reply {
                    Some(Ok(reply)) => self.reply(reply),
                    Some(Err(error)) => return self.lost(error.to_string()),
                    None => {
                        let why = self.watch.why();
                        return self.lost(why);
                    }
                },
                _ = messages.recv_many(&mut batch, room), if room > 0 => {}
                news = self.watch.next() => match news {
                    News::Blocked => self.block(flight.requests()),
                    News::Unblocked => self.unblock(),
                    News::Lost(why) => return self.lost(why),
                },
                _ = sweep.tick(), if !flight.is_empty() => {
                    for purpose in flight.overdue() {
                        if let Err(why) = self.settle(Some(purpose), Fate::Overdue) {
                            return why;
                        }
                    }
                    if flight.is_stuck() && !self.blocked {
                        return self.lost("the broker confirms nothing".into());
                    }
                }
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

    /// Whether a message is to be published at all.
    fn ready(&self, publish: Publish) -> Option<Ready> {
        let Publish {
            message,
            purpose,
            deadline,
        } = publish;
        match purpose {
            // Nobody waits any more.
            Purpose::Request(_) if deadline.passed() => return None,
            Purpose::Request(_) | Purpose::Event(_) if self.blocked => {
                self.shared.fail(purpose, blocked());
                return None;
            }
            _ => {}
        }
        Some(Ready {
            message,
            purpose,
            last: deadline.instant() + GRACE,
        })
    }

    /// A message reached its fate. An error ends the session.
    fn settle(&self, purpose: Option<Purpose>, fate: Fate) -> Result<(), String> {
        let (refused, why) = match fate {
            Fate::Confirmed { refused, returned } => {
                if let Some(returned) = returned {
                    // With a confirmation of several, it may belong to another of them.
                    self.returned(&returned);
                }
                (refused, not_taken())
            }
            Fate::Overdue => (true, unconfirmed()),
            // Dropping the purpose gives a delivery back to the broker.
            Fate::Failed(error) => return Err(self.lost(error.to_string())),
        };
        match purpose {
            Some(purpose @ (Purpose::Request(_) | Purpose::Event(_))) if refused => {
                self.shared.fail(purpose, why);
            }
            Some(Purpose::Request(_)) | None => {}
            Some(Purpose::Event(told)) => told.send(Ok(())).unwrap_or_default(),
            Some(Purpose::Answer(delivery)) => {
                if refused {
                    self.shared.metrics.dropped("amqp", "reply_not_taken");
                }
                // The call was carried out: delivering it again would do so twice.
                delivery.ack();
            }
            Some(Purpose::Park(delivery)) if refused => drop(delivery),
            Some(Purpose::Park(delivery)) => delivery.ack(),
        }
        Ok(())
    }

    /// The broker found no queue for a request.
    fn returned(&self, message: &BasicReturnMessage) {
        if let Some(key) = key_of(message) {
            self.shared.fail(Purpose::Request(key), no_responder());
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

    fn block(&mut self, requests: Vec<Purpose>) {
        self.blocked = true;
        self.shared.set_standing(Standing::Blocked, "");
        // They lie in a socket that the broker does not read. Events there may wait.
        for request in requests {
            self.shared.fail(request, blocked().handed_over());
        }
    }

    fn unblock(&mut self) {
        self.blocked = false;
        self.shared.set_standing(Standing::Up, "");
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
        "the broker did not take the message; a queue that it is for may be full",
    )
}

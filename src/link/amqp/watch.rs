//! Watches an open connection: what the library tells, and whether the broker still answers.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use lapin::options::BasicQosOptions;
use lapin::{Channel, ConnectionStatus, Event};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::connect::{Events, Open};

/// Between two questions to a broker.
const ASK: Duration = Duration::from_secs(2);
/// How long a broker may take to answer before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(4);

/// What changed.
pub(super) enum News {
    /// The broker takes no messages on this connection for now.
    Blocked,
    /// It takes them again.
    Unblocked,
    /// The connection is of no more use.
    Lost(String),
}

/// The watch over one connection.
pub(super) struct Watch {
    events: Events,
    connection: ConnectionStatus,
    channels: Vec<Channel>,
    prefetch: u16,
    ask: Interval,
    question: Option<BoxFuture<'static, Result<(), String>>>,
    blocked: bool,
}

impl Watch {
    /// Over these channels. Asks on the first, by setting the prefetch that it has anyway: a question that changes
    /// nothing and that every broker must answer in turn.
    pub fn new(open: &Open, events: Events, channels: &[&Channel], prefetch: u16) -> Watch {
        let mut ask = interval_at(Instant::now() + ASK, ASK);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch {
            events,
            connection: open.connection.status().clone(),
            channels: channels.iter().map(|channel| (*channel).clone()).collect(),
            prefetch,
            ask,
            question: None,
            blocked: false,
        }
    }

    /// The next change. May be dropped and asked again without losing anything.
    pub async fn next(&mut self) -> News {
        loop {
            tokio::select! {
                event = self.events.next() => match event {
                    Some(Event::ConnectionBlocked(_)) => {
                        self.blocked = true;
                        self.question = None;
                        return News::Blocked;
                    }
                    Some(Event::ConnectionUnblocked) => {
                        self.blocked = false;
                        return News::Unblocked;
                    }
                    // A look at an exchange may end its own channel; that is nothing to us.
                    Some(Event::Error(error))
                        if error.is_amqp_soft_error() && self.channels_stand() => {}
                    Some(Event::Error(error)) => return News::Lost(error.to_string()),
                    Some(_) => {}
                    None => return News::Lost("the connection ended".into()),
                },
                answered = answered(&mut self.question) => {
                    self.question = None;
                    if let Err(why) = answered {
                        return News::Lost(why);
                    }
                }
                _ = self.ask.tick() => {
                    if !self.connection.connected() || !self.channels_stand() {
                        return News::Lost("the connection ended".into());
                    }
                    // A blocked broker reads nothing; it says so itself, and when it is over.
                    if !self.blocked && self.question.is_none() {
                        self.question = self.channels.first().map(|channel| ask(channel.clone(), self.prefetch).boxed());
                    }
                }
            }
        }
    }

    fn channels_stand(&self) -> bool {
        self.channels
            .iter()
            .all(|channel| channel.status().connected())
    }

    /// Why a stream of this connection ended, as far as the library has told.
    pub fn why(&mut self) -> String {
        while let Some(news) = self.next().now_or_never() {
            if let News::Lost(why) = news {
                return why;
            }
        }
        "the broker ended the channel".into()
    }
}

async fn answered(
    question: &mut Option<BoxFuture<'static, Result<(), String>>>,
) -> Result<(), String> {
    match question {
        Some(question) => question.await,
        None => std::future::pending().await,
    }
}

async fn ask(channel: Channel, prefetch: u16) -> Result<(), String> {
    match timeout(
        PATIENCE,
        channel.basic_qos(prefetch, BasicQosOptions::default()),
    )
    .await
    {
        Ok(answer) => answer.map_err(|e| e.to_string()),
        Err(_) => Err(format!("the broker did not answer within {PATIENCE:?}")),
    }
}

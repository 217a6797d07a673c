//! The task that owns the receiving connection of a bus: calls come in, and go back settled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::board::Role;
use super::connect::{ANSWER, Open, Server, answer, open};
use super::ledger::{Ledger, Settlement, Verdict};
use super::message::short;
use super::publisher::GOOD;
use super::topology;
use super::watch::{News, Watch};
use super::{Delivery, Message, Shared, backoff};
use crate::config::AmqpBus;
use crate::context::Context;
use crate::link::Backoff;
use crate::observe::LinkState;

/// Between tries when the broker refuses what callway declares: people have to act first.
const REFUSED: Duration = Duration::from_secs(10);
/// How long deliveries come one by one after one that the library could not read.
const CAREFUL: Duration = Duration::from_secs(30);
/// Verdicts taken up at once.
const BATCH: usize = 256;

/// Owns the receiving connection.
pub(super) struct Receiver<F> {
    context: Context,
    bus: Arc<AmqpBus>,
    queue: String,
    shared: Arc<Shared>,
    on_message: F,
    careful_until: Option<Instant>,
}

/// Why a session ended.
enum Ended {
    /// Nothing comes in any more and everything is settled.
    Drained,
    /// The connection could not be made, or was lost.
    Lost(String),
    /// The broker refuses what callway declares.
    Refused(String),
}

impl From<String> for Ended {
    fn from(why: String) -> Ended {
        Ended::Lost(why)
    }
}

impl<F: Fn(Message, Delivery) + Send + Sync + 'static> Receiver<F> {
    pub fn new(
        context: Context,
        bus: Arc<AmqpBus>,
        queue: &str,
        shared: Arc<Shared>,
        on_message: F,
    ) -> Receiver<F> {
        // At once: the bus is not up before this connection is.
        shared.board.set(Role::Receive, LinkState::Connecting, "");
        Receiver {
            context,
            bus,
            queue: queue.into(),
            shared,
            on_message,
            careful_until: None,
        }
    }

    /// Connects, receives and connects again until the drain.
    pub async fn run(mut self) {
        let mut backoff = backoff();
        let (context, shared) = (self.context.clone(), self.shared.clone());
        loop {
            shared.board.set(Role::Receive, LinkState::Connecting, "");
            let started = Instant::now();
            let ended = tokio::select! {
                ended = self.session() => ended,
                () = context.stop.cancelled() => break,
            };
            if started.elapsed() > GOOD {
                backoff.reset();
            }
            let Some(wait) = self.wait_after(ended, &mut backoff) else {
                break;
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = context.drain.cancelled() => break,
            }
        }
    }

    fn wait_after(&mut self, ended: Ended, backoff: &mut Backoff) -> Option<Duration> {
        let (why, wait) = match ended {
            Ended::Drained => return None,
            Ended::Lost(why) => (why, backoff.next()),
            Ended::Refused(why) => (why, REFUSED),
        };
        self.shared.board.set(Role::Receive, LinkState::Down, &why);
        Some(wait)
    }

    async fn session(&mut self) -> Ended {
        match self.receive().await {
            Ok(()) => Ended::Drained,
            Err(ended) => ended,
        }
    }

    async fn receive(&mut self) -> Result<(), Ended> {
        let server = Server::of(&self.bus)?;
        let name = format!("callway {} receives", self.context.config.cluster.instance);
        let (opened, events) = tokio::select! {
            opened = open(&server, &name) => opened?,
            () = self.context.drain.cancelled() => return Ok(()),
        };
        let declared = topology::declare(&opened, &self.queue).await;
        declared.map_err(Ended::Refused)?;
        let careful = self
            .careful_until
            .is_some_and(|until| Instant::now() < until);
        let prefetch = if careful { 1 } else { self.bus.prefetch };
        let (channel, deliveries) = consume(&opened, &self.queue, prefetch).await?;
        self.shared.board.set(Role::Receive, LinkState::Up, "");
        let (verdicts, settled) = mpsc::channel(capacity(prefetch));
        let mut receiving = Receiving {
            watch: Watch::new(&opened, events, &[&channel], prefetch),
            open: opened,
            channel,
            deliveries,
            verdicts,
            ledger: Ledger::default(),
        };
        let on_message = &self.on_message;
        let ended = receiving
            .run(settled, on_message, &self.context, careful)
            .await;
        if let Err(Ended::Lost(why)) = &ended {
            // A property that is not UTF-8 makes the library end the connection, and the broker
            // deliver it again, up to its limit. One by one, no other delivery is counted with it.
            if why.contains("parse") {
                self.careful_until = Some(Instant::now() + CAREFUL);
            }
        } else {
            receiving.open.close().await;
        }
        ended
    }
}

async fn consume(open: &Open, queue: &str, prefetch: u16) -> Result<(Channel, Consumer), String> {
    let channel = open.channel().await?;
    let asked = channel.basic_qos(prefetch, BasicQosOptions::default());
    answer("prefetch", asked).await?;
    let queue = short(queue).unwrap_or_default();
    let asked = channel.basic_consume(
        queue,
        "callway".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let deliveries = answer("consume", asked).await?;
    Ok((channel, deliveries))
}

/// Room for a verdict on everything that may be open at once; a prefetch of 0 means no bound.
fn capacity(prefetch: u16) -> usize {
    match prefetch {
        0 => usize::from(u16::MAX),
        prefetch => usize::from(prefetch),
    }
}

/// One session on the receiving connection.
struct Receiving {
    open: Open,
    channel: Channel,
    deliveries: Consumer,
    watch: Watch,
    verdicts: mpsc::Sender<(u64, Verdict)>,
    ledger: Ledger,
}

impl Receiving {
    async fn run(
        &mut self,
        mut settled: mpsc::Receiver<(u64, Verdict)>,
        on_message: &(impl Fn(Message, Delivery) + Sync),
        context: &Context,
        careful: bool,
    ) -> Result<(), Ended> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut frames = FuturesUnordered::new();
        let mut draining = false;
        let careful_end = tokio::time::sleep(CAREFUL);
        tokio::pin!(careful_end);
        loop {
            if draining && self.ledger.open() == 0 && frames.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                Some(sent) = frames.next() => {
                    let sent: lapin::Result<()> = sent;
                    sent.map_err(|error| error.to_string())?;
                }
                _ = settled.recv_many(&mut batch, BATCH) => {
                    for settlement in self.ledger.settle(&batch) {
                        frames.push(tell(self.channel.clone(), settlement));
                    }
                    batch.clear();
                }
                delivery = self.deliveries.next(), if !draining => match delivery {
                    Some(Ok(raw)) => {
                        self.ledger.arrived(raw.delivery_tag);
                        let delivery = Delivery::new(raw.delivery_tag, self.verdicts.clone());
                        on_message(Message::new(raw), delivery);
                    }
                    Some(Err(error)) => return Err(error.to_string().into()),
                    None => return Err(self.watch.why().into()),
                },
                news = self.watch.next() => {
                    if let News::Lost(why) = news {
                        return Err(why.into());
                    }
                }
                () = &mut careful_end, if careful => {
                    return Err(Ended::Lost("back to the full prefetch".into()));
                }
                () = context.drain.cancelled(), if !draining => {
                    draining = true;
                    let asked = self.channel.basic_cancel("callway".into(), BasicCancelOptions::default());
                    answer("cancel", asked).await?;
                }
            }
        }
    }
}

/// Sends one frame; done when it is on its way.
async fn tell(channel: Channel, settlement: Settlement) -> lapin::Result<()> {
    let sent = async {
        match settlement {
            Settlement::AckUpTo(tag) => {
                channel
                    .basic_ack(tag, BasicAckOptions { multiple: true })
                    .await
            }
            Settlement::Ack(tag) => channel.basic_ack(tag, BasicAckOptions::default()).await,
            Settlement::Requeue(tag) => {
                let options = BasicNackOptions {
                    multiple: false,
                    requeue: true,
                };
                channel.basic_nack(tag, options).await
            }
        }
    };
    // A frame that cannot leave is the watch's business.
    timeout(ANSWER, sent).await.unwrap_or(Ok(()))
}

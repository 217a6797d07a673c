//! One session on a receiving connection: what is delivered, and what goes back settled.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connect::{ANSWER, Events, Open, answer};
use super::exchanges::RECHECK;
use super::intake::Intake;
use super::ledger::{Ledger, Settlement, Verdict};
use super::message::short;
use super::watch::{News, Watch};
use super::{Delivery, Message};

/// How long deliveries come one by one after one that the library could not read.
const CAREFUL: Duration = Duration::from_secs(1);
/// Verdicts taken up at once.
const BATCH: usize = 256;
/// Names the consumer on its channel.
const TAG: &str = "callway";

/// One session on a receiving connection.
pub(super) struct Receiving {
    open: Open,
    channel: Channel,
    deliveries: Consumer,
    watch: Watch,
    queue: String,
    prefetch: u16,
    verdicts: mpsc::Sender<(u64, Verdict)>,
    settled: mpsc::Receiver<(u64, Verdict)>,
    ledger: Ledger,
}

impl Receiving {
    /// Starts to take deliveries: at most `prefetch` unsettled ones, or one by one if `careful`.
    pub async fn start(
        open: Open,
        events: Events,
        queue: &str,
        prefetch: u16,
        careful: bool,
    ) -> Result<Receiving, String> {
        let channel = open.channel().await?;
        let first = if careful { 1 } else { prefetch };
        let deliveries = consume(&channel, queue, first).await?;
        let (verdicts, settled) = mpsc::channel(capacity(prefetch));
        Ok(Receiving {
            watch: Watch::new(&open, events, &[&channel], first),
            open,
            channel,
            deliveries,
            queue: queue.into(),
            prefetch,
            verdicts,
            settled,
            ledger: Ledger::default(),
        })
    }

    /// Serves until the connection is of no more use, and says why; or, once `drain` is cancelled,
    /// until everything is settled.
    ///
    /// After a careful start, the session proves itself first: `show` is called when it has, and
    /// whenever something works again.
    pub async fn run(
        &mut self,
        intake: &Intake,
        mut careful: bool,
        show: impl Fn(),
        on_message: &(impl Fn(Message, Delivery) + Sync),
        drain: &CancellationToken,
    ) -> Result<(), String> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut frames = FuturesUnordered::new();
        let mut draining = false;
        let mut recheck = tokio::time::interval(RECHECK);
        recheck.reset();
        let proof = tokio::time::sleep(CAREFUL);
        tokio::pin!(proof);
        loop {
            if draining && self.ledger.open() == 0 && frames.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                // First: what a drain gives back comes at once again, which would keep the others
                // busy and count as tries until the broker throws it away.
                () = drain.cancelled(), if !draining => {
                    draining = true;
                    cancel(&self.channel).await?;
                }
                Some(sent) = frames.next() => {
                    let sent: lapin::Result<()> = sent;
                    sent.map_err(|error| error.to_string())?;
                }
                _ = self.settled.recv_many(&mut batch, BATCH) => {
                    for settlement in self.ledger.settle(&batch) {
                        frames.push(tell(self.channel.clone(), settlement));
                    }
                    batch.clear();
                }
                delivery = self.deliveries.next(), if !draining => match delivery {
                    Some(Ok(delivery)) => self.hand_on(delivery, on_message),
                    Some(Err(error)) => return Err(error.to_string()),
                    None => return Err(self.watch.why()),
                },
                news = self.watch.next() => {
                    if let News::Lost(why) = news {
                        return Err(why);
                    }
                }
                () = &mut proof, if careful => {
                    careful = false;
                    self.widen(on_message).await?;
                    show();
                }
                _ = recheck.tick(), if !careful && intake.is_troubled() => {
                    intake.mend(&self.open).await;
                    show();
                }
            }
        }
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.open.close().await;
    }

    fn hand_on(
        &mut self,
        delivery: lapin::message::Delivery,
        on_message: &(impl Fn(Message, Delivery) + Sync),
    ) {
        let tag = delivery.delivery_tag;
        self.ledger.arrived(tag);
        on_message(
            Message::new(delivery),
            Delivery::new(tag, self.verdicts.clone()),
        );
    }

    /// Goes on with the full prefetch, which counts for new consumers only.
    async fn widen(
        &mut self,
        on_message: &(impl Fn(Message, Delivery) + Sync),
    ) -> Result<(), String> {
        cancel(&self.channel).await?;
        // What came before the broker had the word.
        while let Ok(Some(Ok(delivery))) = timeout(ANSWER, self.deliveries.next()).await {
            self.hand_on(delivery, on_message);
        }
        self.deliveries = consume(&self.channel, &self.queue, self.prefetch).await?;
        Ok(())
    }
}

async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> Result<Consumer, String> {
    let asked = channel.basic_qos(prefetch, BasicQosOptions::default());
    answer("prefetch", asked).await?;
    let asked = channel.basic_consume(
        short(queue).unwrap_or_default(),
        TAG.into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    answer("consume", asked).await
}

async fn cancel(channel: &Channel) -> Result<(), String> {
    let asked = channel.basic_cancel(TAG.into(), BasicCancelOptions::default());
    answer("cancel", asked).await
}

/// Room for a verdict on everything that may be open at once; a prefetch of 0 means no bound.
fn capacity(prefetch: u16) -> usize {
    match prefetch {
        0 => usize::from(u16::MAX),
        prefetch => usize::from(prefetch),
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
            Settlement::Requeue(tag) => channel.basic_nack(tag, back(true)).await,
            Settlement::Reject(tag) => channel.basic_nack(tag, back(false)).await,
        }
    };
    // A frame that cannot leave is the watch's business.
    timeout(ANSWER, sent).await.unwrap_or(Ok(()))
}

fn back(requeue: bool) -> BasicNackOptions {
    BasicNackOptions {
        multiple: false,
        requeue,
    }
}

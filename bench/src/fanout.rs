//! One device to many WebSocket clients: what is published must reach every one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Failure;
use crate::device::Device;
use crate::load::{Load, Measured, Tally, sum};
use crate::subscriber::{Counter, Subscriber};
use crate::wire::PARAMS;

/// The topic, and the channel that callway makes of it.
pub const TOPIC: &str = "bench/news";

/// What does not arrive within this time is missing.
const PATIENCE: Duration = Duration::from_secs(20);

/// Publishes at QoS 0 until the time is over, one message when the one before has reached all: so
/// mosquitto is at its best, which sends its WebSocket clients one packet a turn. Of what is
/// measured a call is one delivery; the latencies are those of messages that reached all.
pub async fn run(
    mut device: Device,
    subscribers: Vec<Subscriber>,
    load: Load,
) -> Result<Measured, Failure> {
    let all = subscribers.len();
    let counter = Arc::new(Counter::default());
    let mut counting = JoinSet::new();
    for subscriber in subscribers {
        let counter = counter.clone();
        counting.spawn(async move { subscriber.count(&counter).await });
    }
    let publishing = publish(&mut device, all, &counter, load);
    let tally = tokio::select! {
        tally = publishing => tally?,
        Some(ended) = counting.join_next() => {
            ended??;
            return Err("a subscriber ended".into());
        }
    };
    let mut measured = sum(vec![tally], load)?;
    measured.calls *= all as u64;
    Ok(measured)
}

async fn publish(
    device: &mut Device,
    all: usize,
    counter: &Counter,
    load: Load,
) -> Result<Tally, Failure> {
    let mut tally = Tally::new(Instant::now(), load);
    let mut deliveries = 0;
    loop {
        device.publish(TOPIC, PARAMS.as_bytes(), 0);
        let sent = Instant::now();
        device.flush().await?;
        deliveries += all;
        let reached = tokio::time::timeout(PATIENCE, counter.reached(deliveries))
            .await
            .map_err(|_| format!("deliveries are missing after {PATIENCE:?}"))?;
        if reached != deliveries {
            return Err(format!("{deliveries} deliveries were due, {reached} came").into());
        }
        if !tally.reply(sent, Instant::now()) {
            return Ok(tally);
        }
    }
}

//! One device to many WebSocket clients: what is published must reach every one.

use std::collections::VecDeque;
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

/// Publishes at QoS 0 until the time is over; `load.in_flight` messages may be on the way. Of what
/// is measured a call is one delivery; the latencies are those of messages that reached all.
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
    let start = Instant::now();
    let mut tally = Tally::new(start, load);
    let mut on_the_way = VecDeque::new();
    let (mut over, mut complete) = (false, 0);
    loop {
        while !over && on_the_way.len() < load.in_flight {
            device.publish(TOPIC, PARAMS.as_bytes(), 0);
            on_the_way.push_back(Instant::now());
        }
        if on_the_way.is_empty() {
            return Ok(tally);
        }
        device.flush().await?;
        let reached = counter.reached((complete + 1) * all);
        let deliveries = tokio::time::timeout(PATIENCE, reached)
            .await
            .map_err(|_| format!("deliveries are missing after {PATIENCE:?}"))?;
        let now = Instant::now();
        for sent in on_the_way.drain(..deliveries / all - complete) {
            over |= !tally.reply(sent, now);
        }
        complete = deliveries / all;
    }
}

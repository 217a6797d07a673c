//! Pairs of devices: one publishes at QoS 1 what the other has subscribed.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{Place, connect};
use crate::Failure;
use crate::load::{Load, Measured, Tally, sum};
use crate::packets::{self, PUBACK, PUBLISH};
use crate::wire::{PARAMS, number};

/// Digits in front of the payload that tell the slot.
const DIGITS: usize = 2;

struct Pair {
    publisher: TcpStream,
    subscriber: TcpStream,
    topic: String,
}

/// What a message under way waits for.
#[derive(Clone, Copy)]
struct Slot {
    sent: Instant,
    id: u16,
    delivered: bool,
    acknowledged: bool,
}

/// Runs the load, each connection of it a pair.
pub(super) async fn run(place: Place<'_>, clean: bool, load: Load) -> Result<Measured, Failure> {
    let mut pairs = Vec::new();
    for number in 0..load.connections {
        let topic = format!("devices/{number}/out");
        let kind = if clean { "clean" } else { "kept" };
        let (from, to) = (
            format!("{kind}-from-{number}"),
            format!("{kind}-to-{number}"),
        );
        if !clean {
            // Nothing of an earlier run.
            for client in [&from, &to] {
                connect(place, (client, true), None).await?;
            }
        }
        pairs.push(Pair {
            publisher: connect(place, (&from, clean), None).await?,
            subscriber: connect(place, (&to, clean), Some((&topic, 1))).await?,
            topic,
        });
    }
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    for pair in pairs {
        lanes.spawn(pair.run(load, start));
    }
    let patience = load.warm_up + load.time + Duration::from_secs(20);
    let mut tallies = Vec::new();
    let all = async {
        while let Some(tally) = lanes.join_next().await {
            tallies.push(tally??);
        }
        Ok::<(), Failure>(())
    };
    tokio::time::timeout(patience, all)
        .await
        .map_err(|_| "messages are missing: a pair waited 20 s after the end")??;
    sum(tallies, load)
}

impl Pair {
    async fn run(mut self, load: Load, start: Instant) -> Result<Tally, Failure> {
        let mut tally = Tally::new(start, load);
        let (mut acks, mut messages) = (Vec::with_capacity(4096), Vec::with_capacity(16 * 1024));
        let (mut out, mut answers) = (Vec::new(), Vec::new());
        let mut last_id = 0;
        let mut slots = Vec::new();
        for slot in 0..load.in_flight {
            slots.push(send(&self.topic, slot, &mut last_id, &mut out));
        }
        let mut waiting = load.in_flight;
        while waiting > 0 {
            flush(&mut self.publisher, &mut out).await?;
            flush(&mut self.subscriber, &mut answers).await?;
            let came = tokio::select! {
                came = self.publisher.read_buf(&mut acks) => came?,
                came = self.subscriber.read_buf(&mut messages) => came?,
            };
            if came == 0 {
                return Err("a device was cut off".into());
            }
            each(&mut acks, |kind, packet| {
                let id = packet
                    .get(2..4)
                    .map(|id| u16::from_be_bytes([id[0], id[1]]));
                if kind == PUBACK
                    && let Some(slot) = slots.iter_mut().find(|slot| Some(slot.id) == id)
                {
                    slot.acknowledged = true;
                }
            });
            each(&mut messages, |kind, packet| {
                if kind == PUBLISH
                    && let Some((Some(id), payload)) = packets::message(packet)
                {
                    packets::acknowledge(&mut answers, id);
                    if let Some(slot) = slots.get_mut(number(&payload[..DIGITS])) {
                        slot.delivered = true;
                    }
                }
            });
            let now = Instant::now();
            for (number, slot) in slots.iter_mut().enumerate() {
                if slot.delivered && slot.acknowledged {
                    waiting -= 1;
                    slot.acknowledged = false;
                    if tally.reply(slot.sent, now) {
                        *slot = send(&self.topic, number, &mut last_id, &mut out);
                        waiting += 1;
                    }
                }
            }
        }
        flush(&mut self.subscriber, &mut answers).await?;
        Ok(tally)
    }
}

fn send(topic: &str, slot: usize, last_id: &mut u16, out: &mut Vec<u8>) -> Slot {
    *last_id = last_id.checked_add(1).unwrap_or(1);
    let payload = format!("{slot:0DIGITS$}{PARAMS}");
    packets::publish(out, topic, payload.as_bytes(), Some(*last_id));
    Slot {
        sent: Instant::now(),
        id: *last_id,
        delivered: false,
        acknowledged: false,
    }
}

async fn flush(stream: &mut TcpStream, out: &mut Vec<u8>) -> Result<(), Failure> {
    if !out.is_empty() {
        stream.write_all(out).await?;
        out.clear();
    }
    Ok(())
}

/// Shows each whole packet, and takes it out.
fn each(input: &mut Vec<u8>, mut see: impl FnMut(u8, &[u8])) {
    let mut used = 0;
    while let Some((kind, length)) = packets::first(&input[used..]) {
        see(kind, &input[used..used + length]);
        used += length;
    }
    input.drain(..used);
}

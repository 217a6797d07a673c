//! Many devices to one queue: numbered messages are published, and each must arrive.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::device::Device;
use crate::load::{Load, Measured, Tally, sum};
use crate::queue::{Arrivals, Confirmed};
use crate::wire::{PARAMS, number};

/// The topic of a device is this and its number; callway makes it the routing key of the event.
pub const TOPIC: &str = "bench/devices/";

/// Messages that may be unacknowledged: as many as callway allows itself on a bus.
const WINDOW: usize = 256;
/// Messages that may be anywhere between publisher and consumer.
const ON_THE_WAY: usize = 2000;
const DEVICES: usize = 16;
/// What has not arrived after so long without any arrival is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who publishes.
pub enum Source {
    /// A device to the MQTT broker at QoS 1, and callway from there to the exchange.
    Device(Device),
    /// A program to the exchange itself.
    Floor(Box<Confirmed>),
}

impl Source {
    async fn publish(&mut self, number: usize) -> Result<(), Failure> {
        let payload = format!(r#"{{"n":{number},{}"#, &PARAMS[1..]);
        let device = number % DEVICES;
        match self {
            Source::Device(one) => one.publish(&format!("{TOPIC}{device}"), payload.as_bytes(), 1),
            Source::Floor(floor) => {
                let key = format!("device.{device}");
                floor.publish(&key, payload.as_bytes()).await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Source::Device(device) => device.flush().await,
            Source::Floor(_) => Ok(()),
        }
    }

    async fn acknowledged(&mut self) -> Result<usize, Failure> {
        match self {
            Source::Device(device) => device.acknowledged().await,
            Source::Floor(floor) => floor.confirmed().await,
        }
    }
}

/// What became of the messages of one run.
pub struct Account {
    /// Acknowledged to their publisher.
    pub acknowledged: usize,
    /// Acknowledged and not arrived.
    pub lost: usize,
    /// Arrived more often than once.
    pub twice: usize,
}

/// The messages of one run, which begin at a number of their own.
struct Messages {
    begin: usize,
    sent: Vec<Instant>,
    arrived: Vec<bool>,
    distinct: usize,
    twice: usize,
}

impl Messages {
    fn arrived(&mut self, payload: &[u8], tally: &mut Tally) {
        let digits = payload.strip_prefix(br#"{"n":"#).unwrap_or_default();
        let place = number(digits).checked_sub(self.begin);
        match place.and_then(|place| self.arrived.get_mut(place).zip(self.sent.get(place))) {
            Some((arrived, sent)) if !*arrived => {
                *arrived = true;
                self.distinct += 1;
                tally.reply(*sent, Instant::now());
            }
            // One of an earlier run has come before, or that run has called it lost.
            _ => self.twice += 1,
        }
    }
}

/// Publishes until the time is over, and waits for what is on the way then. `begin` is the first
/// number; no run may use one again.
pub async fn run(
    mut source: Source,
    mut queue: Arrivals,
    load: Load,
    begin: usize,
) -> Result<(Measured, Account), Failure> {
    let start = Instant::now();
    let until = start + load.warm_up + load.time;
    let mut tally = Tally::new(start, load);
    let mut messages = Messages {
        begin,
        sent: Vec::new(),
        arrived: Vec::new(),
        distinct: 0,
        twice: 0,
    };
    let mut acknowledged = 0;
    loop {
        let (now, mut sent) = (Instant::now(), messages.sent.len());
        while now < until && sent - acknowledged < WINDOW && sent - messages.distinct < ON_THE_WAY {
            source.publish(begin + sent).await?;
            messages.sent.push(now);
            messages.arrived.push(false);
            sent += 1;
        }
        source.flush().await?;
        if now >= until && acknowledged == sent && messages.distinct == sent {
            break;
        }
        tokio::select! {
            count = source.acknowledged(), if acknowledged < sent => acknowledged += count?,
            delivery = queue.next() => {
                let arrived = |payload: &[u8]| messages.arrived(payload, &mut tally);
                queue.take(delivery?, arrived).await?;
            }
            () = tokio::time::sleep(PATIENCE) => break,
        }
    }
    let account = Account {
        acknowledged,
        lost: acknowledged.saturating_sub(messages.distinct),
        twice: messages.twice,
    };
    Ok((sum(vec![tally], load)?, account))
}

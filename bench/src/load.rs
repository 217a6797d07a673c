//! Drives connections: each keeps its requests under way until the time is over.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Failure;
use crate::wire::Wire;

/// How much, and for how long.
#[derive(Clone, Copy)]
pub struct Load {
    /// Connections.
    pub connections: usize,
    /// Requests under way on each.
    pub in_flight: usize,
    /// Counted time.
    pub time: Duration,
    /// Time before it, not counted.
    pub warm_up: Duration,
}

/// What came of it.
#[derive(Clone, Default)]
pub struct Measured {
    /// Replies within the counted time.
    pub calls: u64,
    /// The counted time.
    pub seconds: f64,
    /// Of each reply within the counted time, in nanoseconds; sorted.
    pub latencies: Vec<u32>,
}

impl Measured {
    /// Replies per second.
    pub fn rate(&self) -> f64 {
        self.calls as f64 / self.seconds
    }

    /// The latency that this share of the replies did not exceed, in microseconds.
    pub fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies
            .get(at)
            .map_or(f64::NAN, |ns| f64::from(*ns) / 1000.0)
    }
}

/// Counts replies within the counted time.
pub struct Tally {
    from: Instant,
    until: Instant,
    calls: u64,
    latencies: Vec<u32>,
}

impl Tally {
    /// Counting begins after the warm-up.
    pub fn new(start: Instant, load: Load) -> Tally {
        let from = start + load.warm_up;
        Tally {
            from,
            until: from + load.time,
            calls: 0,
            latencies: Vec::new(),
        }
    }

    /// A reply came; returns whether to send another request.
    pub fn reply(&mut self, sent: Instant, now: Instant) -> bool {
        if now >= self.from && now < self.until {
            self.calls += 1;
            let took = now.duration_since(sent).as_nanos();
            self.latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
        }
        now < self.until
    }
}

/// Adds up what the connections counted.
pub fn sum(tallies: Vec<Tally>, load: Load) -> Result<Measured, Failure> {
    let mut measured = Measured {
        seconds: load.time.as_secs_f64(),
        ..Measured::default()
    };
    for tally in tallies {
        measured.calls += tally.calls;
        measured.latencies.extend(tally.latencies);
    }
    measured.latencies.sort_unstable();
    if measured.calls == 0 {
        return Err("not one reply came within the counted time".into());
    }
    Ok(measured)
}

/// Runs the load over connections that are open already.
pub async fn run<W: Wire + Send + 'static>(
    connections: Vec<(TcpStream, W)>,
    load: Load,
) -> Result<Measured, Failure> {
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    for (stream, wire) in connections {
        lanes.spawn(lane(stream, wire, load, start));
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
        .map_err(|_| "replies are missing: a connection waited 20 s after the end")??;
    sum(tallies, load)
}

async fn lane<W: Wire>(
    mut stream: TcpStream,
    mut wire: W,
    load: Load,
    start: Instant,
) -> Result<Tally, Failure> {
    let mut tally = Tally::new(start, load);
    let mut sent = vec![start; load.in_flight];
    let mut out = Vec::with_capacity(16 * 1024);
    let mut input = Vec::with_capacity(16 * 1024);
    let mut done = Vec::with_capacity(load.in_flight);
    for (slot, at) in sent.iter_mut().enumerate() {
        wire.request(slot, &mut out);
        *at = Instant::now();
    }
    let mut waiting = load.in_flight;
    while waiting > 0 {
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err("the connection was closed".into());
        }
        let used = wire.replies(&input, &mut out, &mut done)?;
        input.drain(..used);
        let now = Instant::now();
        for slot in done.drain(..) {
            waiting -= 1;
            if tally.reply(sent[slot], now) {
                wire.request(slot, &mut out);
                sent[slot] = now;
                waiting += 1;
            }
        }
    }
    Ok(tally)
}

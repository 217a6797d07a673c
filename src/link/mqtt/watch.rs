//! The watch over one connection: whether the broker still answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// A broker that was silent for so long owes the answer to a ping.
const QUIET: Duration = Duration::from_secs(6);
/// How often the watch looks.
const TICK: Duration = Duration::from_millis(300);
/// A broker that said nothing for so long, pings included, or acknowledged nothing while it owed
/// it, is given up.
const DEAD: Duration = Duration::from_secs(12);

/// What the pump of a connection saw, counted; the watch looks whether it still grows.
#[derive(Default)]
pub(super) struct Vital {
    heard: AtomicU64,
    acknowledged: AtomicU64,
}

impl Vital {
    /// A packet came from the broker.
    pub(super) fn heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// The broker is done with a message of QoS 1 or 2.
    pub(super) fn acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the watch needs of the connection.
pub(super) trait Watched {
    /// How many messages of QoS 1 and 2 were queued so far.
    fn tracked(&self) -> u64;

    /// Whether somebody waits for an answer just now.
    fn is_waiting(&self) -> bool;

    /// Asks the broker something that changes nothing and must be answered.
    fn ask(&self);

    /// Shows that the broker does not answer, or that it does again.
    fn show_stalled(&self, stalled: bool);
}

/// Ends when the broker is dead. While answers are awaited and nothing comes, or not even the
/// answer to a ping, it asks the broker for a sign of life, so that a stalled one is shown within
/// a second after that.
pub(super) async fn watch(vital: &Vital, connection: &impl Watched) -> String {
    let mut voice = Pulse::of(&vital.heard);
    let mut acks = Pulse::of(&vital.acknowledged);
    let mut asked = false;
    let mut stalled = false;
    loop {
        sleep(TICK).await;
        let owed = connection.tracked() > acks.count;
        if !acks.beats(&vital.acknowledged) && owed && acks.since.elapsed() > DEAD {
            return "the broker acknowledges nothing".into();
        }
        if !owed {
            acks.since = Instant::now();
        }
        if voice.beats(&vital.heard) {
            asked = false;
            if std::mem::take(&mut stalled) {
                connection.show_stalled(false);
            }
        } else if voice.since.elapsed() > DEAD {
            return "the broker does not answer".into();
        } else if asked && !stalled {
            stalled = true;
            connection.show_stalled(true);
        } else if !asked && (connection.is_waiting() || voice.since.elapsed() > QUIET) {
            connection.ask();
            asked = true;
        }
    }
}

/// A count, and since when it has not grown.
struct Pulse {
    count: u64,
    since: Instant,
}

impl Pulse {
    fn of(counter: &AtomicU64) -> Pulse {
        Pulse {
            count: counter.load(Ordering::Relaxed),
            since: Instant::now(),
        }
    }

    /// Whether it has grown since the last look.
    fn beats(&mut self, counter: &AtomicU64) -> bool {
        let now = Pulse::of(counter);
        let beats = now.count != self.count;
        if beats {
            *self = now;
        }
        beats
    }
}

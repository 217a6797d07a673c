//! The moment by which a call must have its outcome. It travels across protocols and is never
//! restarted on the way.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::unix_ms;

/// A point in time on this machine's monotonic clock.
///
/// On the wire it is Unix milliseconds (`deadline`) or what is left of it; inside it is monotonic,
/// so a jump of the wall clock moves no deadline that is already running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline this long from now.
    pub fn after(duration: Duration) -> Deadline {
        Deadline::from_moment(Instant::now(), duration)
    }

    /// The deadline this long from a moment.
    pub fn from_moment(moment: Instant, duration: Duration) -> Deadline {
        Deadline(moment + duration)
    }

    /// The deadline that a peer gave as Unix milliseconds. One that passed already is now.
    pub fn from_unix_ms(ms: u64) -> Deadline {
        Deadline::after(Duration::from_millis(ms.saturating_sub(unix_ms())))
    }

    /// The sooner of two.
    #[must_use]
    pub fn min(self, other: Deadline) -> Deadline {
        Deadline(self.0.min(other.0))
    }

    /// The time that is left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// As Unix milliseconds, for the next hop.
    pub fn unix_ms(self) -> u64 {
        unix_ms() + self.remaining().as_millis() as u64
    }

    /// For timers.
    pub fn instant(self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_of_the_past_is_now() {
        assert!(Deadline::from_unix_ms(0).passed());
        assert!(Deadline::from_unix_ms(unix_ms() + 60_000).remaining() > Duration::from_secs(50));
    }

    #[tokio::test(start_paused = true)]
    async fn the_sooner_one_counts() {
        let (soon, late) = (
            Deadline::after(Duration::from_secs(1)),
            Deadline::after(Duration::from_secs(9)),
        );
        assert_eq!(late.min(soon), soon);
    }
}

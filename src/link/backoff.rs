//! Waits between tries: doubling, bounded, with jitter.

use std::time::Duration;

/// Yields the waits between tries. Full jitter in the upper half, so that many clients that lost
/// the same broker do not come back at the same instant.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// From `first`, doubling up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff {
            first,
            longest,
            next: first,
        }
    }

    /// The next wait.
    #[allow(clippy::should_implement_trait)] // an endless series, not an iterator to collect
    pub fn next(&mut self) -> Duration {
        let wait = self.next.min(self.longest);
        self.next = (wait * 2).min(self.longest);
        wait.mul_f64(0.5 + 0.5 * random_fraction())
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

fn random_fraction() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_within_their_bounds() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for nominal in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            let wait = backoff.next().as_millis();
            assert!(
                (nominal / 2..=nominal).contains(&wait),
                "{wait} of {nominal}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}

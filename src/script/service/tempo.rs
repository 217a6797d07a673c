//! How much in a second.

use std::time::Duration;

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// So many in each second.
pub(super) struct Tempo {
    most: u32,
    began: Instant,
    taken: u32,
}

impl Tempo {
    pub(super) fn new(most: u32) -> Tempo {
        Tempo {
            most,
            began: Instant::now(),
            taken: 0,
        }
    }

    /// One more. Says whether it is still within the second's measure.
    pub(super) fn take(&mut self) -> bool {
        if self.began.elapsed() >= SECOND {
            self.began = Instant::now();
            self.taken = 0;
        }
        self.taken = self.taken.saturating_add(1);
        self.taken <= self.most
    }

    /// When there may be more, if the measure is full.
    pub(super) fn full_until(&self) -> Option<Instant> {
        let end = self.began + SECOND;
        (self.taken >= self.most && end > Instant::now()).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_measure_is_empty_again_after_a_second() {
        let mut tempo = Tempo::new(2);
        assert!(tempo.take() && tempo.full_until().is_none());
        assert!(tempo.take() && !tempo.take());
        tokio::time::sleep_until(tempo.full_until().unwrap()).await;
        assert!(tempo.full_until().is_none() && tempo.take());
    }
}

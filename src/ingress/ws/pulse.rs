//! Whether the client is still there: pings from time to time, and how long a pong may take.

use std::time::Duration;

use tokio::time::Instant;

/// When the next ping is due, or until when its pong must have come.
pub(super) struct Pulse {
    every: Duration,
    /// None for a client that need not answer.
    patience: Option<Duration>,
    state: State,
}

enum State {
    Quiet { ping_at: Instant },
    Asked { pong_by: Instant },
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// The pong did not come.
    Dead,
}

impl Pulse {
    pub(super) fn new(every: Duration, patience: Option<Duration>) -> Pulse {
        Pulse {
            every,
            patience,
            state: State::Quiet {
                ping_at: Instant::now() + every,
            },
        }
    }

    /// Looks at the clock. [`Due::Ping`] is said once: the wait for the pong begins with it.
    pub(super) fn check(&mut self) -> Due {
        let now = Instant::now();
        match self.state {
            State::Quiet { ping_at } if now >= ping_at => {
                self.state = match self.patience {
                    Some(patience) => State::Asked {
                        pong_by: now + patience,
                    },
                    None => State::Quiet {
                        ping_at: now + self.every,
                    },
                };
                Due::Ping
            }
            State::Asked { pong_by } if now >= pong_by => Due::Dead,
            _ => Due::Nothing,
        }
    }

    /// A pong came.
    pub(super) fn pong(&mut self) {
        self.state = State::Quiet {
            ping_at: Instant::now() + self.every,
        };
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        match self.state {
            State::Quiet { ping_at } => ping_at,
            State::Asked { pong_by } => pong_by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ping_waits_for_its_pong() {
        let seconds = Duration::from_secs;
        let mut pulse = Pulse::new(seconds(25), Some(seconds(10)));
        assert_eq!(pulse.check(), Due::Nothing);
        tokio::time::advance(seconds(25)).await;
        assert_eq!(pulse.check(), Due::Ping);
        assert_eq!(pulse.check(), Due::Nothing);
        tokio::time::advance(seconds(9)).await;
        assert_eq!(pulse.check(), Due::Nothing);
        pulse.pong();
        tokio::time::advance(seconds(25)).await;
        assert_eq!(pulse.check(), Due::Ping);
        tokio::time::advance(seconds(10)).await;
        assert_eq!(pulse.check(), Due::Dead);
    }

    #[tokio::test(start_paused = true)]
    async fn who_need_not_answer_is_pinged_all_the_same() {
        let seconds = Duration::from_secs;
        let mut pulse = Pulse::new(seconds(25), None);
        for _ in 0..3 {
            tokio::time::advance(seconds(25)).await;
            assert_eq!(pulse.check(), Due::Ping);
            assert_eq!(pulse.check(), Due::Nothing);
        }
    }
}

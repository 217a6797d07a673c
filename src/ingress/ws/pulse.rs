//! Whether the client is still there: pings from time to time, how long a pong may take, and how
//! long a client may say nothing where its dialect bounds that.

use std::time::Duration;

use tokio::time::Instant;

/// When the next ping is due, or until when its pong must have come.
pub(super) struct Pulse {
    every: Duration,
    /// None for a client that need not answer.
    patience: Option<Duration>,
    state: State,
    silence: Option<Silence>,
}

/// How long the client may say nothing, and until when it may for now.
struct Silence {
    most: Duration,
    ends: Instant,
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
    /// No message came for too long.
    Silent,
}

impl Pulse {
    pub(super) fn new(every: Duration, patience: Option<Duration>) -> Pulse {
        Pulse {
            every,
            patience,
            state: State::Quiet {
                ping_at: Instant::now() + every,
            },
            silence: None,
        }
    }

    /// From now on a message has to come at least so often.
    pub(super) fn bound_silence(&mut self, most: Duration) {
        let ends = Instant::now() + most;
        self.silence = Some(Silence { most, ends });
    }

    /// A message came.
    pub(super) fn heard(&mut self) {
        if let Some(silence) = &mut self.silence {
            silence.ends = Instant::now() + silence.most;
        }
    }

    /// Looks at the clock. [`Due::Ping`] is said once: the wait for the pong begins with it.
    pub(super) fn check(&mut self) -> Due {
        let now = Instant::now();
        if self
            .silence
            .as_ref()
            .is_some_and(|silence| now >= silence.ends)
        {
            return Due::Silent;
        }
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
        let beat = match self.state {
            State::Quiet { ping_at } => ping_at,
            State::Asked { pong_by } => pong_by,
        };
        let silence = self.silence.as_ref().map(|silence| silence.ends);
        silence.map_or(beat, |ends| ends.min(beat))
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

    #[tokio::test(start_paused = true)]
    async fn silence_is_over_with_a_message_and_with_nothing_else() {
        let seconds = Duration::from_secs;
        let mut pulse = Pulse::new(seconds(25), Some(seconds(10)));
        pulse.bound_silence(seconds(50));
        for _ in 0..2 {
            tokio::time::advance(seconds(25)).await;
            pulse.heard();
            assert_eq!(pulse.check(), Due::Ping);
            pulse.pong();
        }
        tokio::time::advance(seconds(25)).await;
        assert_eq!(pulse.check(), Due::Ping);
        pulse.pong();
        tokio::time::advance(seconds(24)).await;
        assert_eq!(pulse.check(), Due::Nothing);
        tokio::time::advance(pulse.next() - Instant::now()).await;
        assert_eq!(pulse.check(), Due::Silent);
    }
}

//! Tickets: random texts that let in once, within a short time, whoever was given one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::token::{Digest, Secret, digest, new_secret};
use crate::call::Fault;

/// Tickets that may be out. With one more the oldest goes: who floods this has to do so faster
/// than others use theirs.
const MOST: usize = 10_000;

/// The tickets that are out, each for what was agreed when it was asked for. Only their hashes are
/// kept.
pub struct Tickets<T> {
    life: Duration,
    inside: Mutex<Inside<T>>,
}

struct Inside<T> {
    out: HashMap<Digest, T>,
    /// In the order in which they end; those that were used stand here until then.
    order: VecDeque<(Instant, Digest)>,
}

impl<T> Tickets<T> {
    /// Tickets that are good for so long.
    pub fn new(life: Duration) -> Tickets<T> {
        Tickets {
            life,
            inside: Mutex::new(Inside {
                out: HashMap::new(),
                order: VecDeque::new(),
            }),
        }
    }

    /// A new one; and whether another had to go for it.
    pub fn issue(&self, agreed: T) -> Result<(Secret, bool), Fault> {
        let secret = new_secret()?;
        let digest = digest(secret.expose());
        let now = Instant::now();
        let mut inside = self.inside.lock();
        inside.end(now);
        let crowded = inside.order.len() >= MOST;
        let pushed_out = crowded && inside.end_first();
        inside.order.push_back((now + self.life, digest));
        inside.out.insert(digest, agreed);
        Ok((secret, pushed_out))
    }

    /// What was agreed, for the first who shows the ticket in time.
    pub fn take(&self, secret: &Secret) -> Option<T> {
        let mut inside = self.inside.lock();
        inside.end(Instant::now());
        inside.out.remove(&digest(secret.expose()))
    }
}

impl<T> Inside<T> {
    fn end(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(end, _)| *end <= now) {
            self.end_first();
        }
    }

    /// Says whether it was still good.
    fn end_first(&mut self) -> bool {
        let first = self.order.pop_front();
        first.is_some_and(|(_, digest)| self.out.remove(&digest).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_and_not_for_long() {
        let tickets = Tickets::new(Duration::from_secs(60));
        let (first, _) = tickets.issue("a").unwrap();
        let (second, _) = tickets.issue("b").unwrap();
        assert_eq!(tickets.take(&Secret::new("cw_other")), None);
        assert_eq!(tickets.take(&first), Some("a"));
        assert_eq!(tickets.take(&first), None, "used");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(tickets.take(&second), None, "too late");
        assert_eq!(tickets.inside.lock().order.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_when_there_are_too_many() {
        let tickets = Tickets::new(Duration::from_secs(60));
        let (oldest, _) = tickets.issue(0).unwrap();
        let (next, _) = tickets.issue(1).unwrap();
        let mut pushed_out = 0;
        for number in 2..=MOST {
            pushed_out += usize::from(tickets.issue(number).unwrap().1);
        }
        assert_eq!(pushed_out, 1);
        assert_eq!(tickets.take(&oldest), None);
        assert_eq!(tickets.take(&next), Some(1));
        assert!(tickets.inside.lock().order.len() <= MOST);
    }
}

//! Events that may be what costs the link: some brokers close the connection over one that they do
//! not like, and it would come first again after every reconnect.

use std::collections::HashMap;
use std::time::Duration;

/// Losses of the link, among others under way, that make an event a suspect.
const TOGETHER: u32 = 3;
/// Losses of the link that prove it: nothing else was under way.
const ALONE: u32 = 5;
/// How soon a broker that dislikes an event closes the connection; whatever takes longer has
/// another cause, a disk that is slow say.
const AT_ONCE: Duration = Duration::from_secs(5);
/// More than can be under way. What was purged meanwhile is never heard of again.
const MOST: usize = 4096;

/// How often the link was lost with each event that is not confirmed yet.
#[derive(Default)]
pub(super) struct Suspects(HashMap<u64, Losses>);

#[derive(Clone, Copy, Default)]
struct Losses {
    together: u32,
    alone: u32,
}

impl Suspects {
    /// Whether an event has to be sent alone.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.0.get(&id).is_some_and(|l| l.together >= TOGETHER)
    }

    /// The link was lost before the broker confirmed the event.
    pub(super) fn lost(&mut self, id: u64) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.entry(id).or_default().together += 1;
    }

    /// The link was steady, and lost so long after the event was sent with nothing else. Says
    /// whether it is proved that the event is at fault.
    pub(super) fn lost_alone(&mut self, id: u64, after: Duration) -> bool {
        let losses = self.0.entry(id).or_default();
        if after < AT_ONCE {
            losses.alone += 1;
        }
        losses.alone >= ALONE
    }

    /// The event is confirmed or dead.
    pub(super) fn forget(&mut self, id: u64) {
        self.0.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[test]
    fn only_losses_at_once_and_alone_prove_anything() {
        let mut suspects = Suspects::default();
        for _ in 0..100 {
            suspects.lost(1);
            assert!(!suspects.lost_alone(1, AT_ONCE));
        }
        assert!(suspects.contains(1));
        let proved: Vec<_> = (0..5).map(|_| suspects.lost_alone(1, SOON)).collect();
        assert_eq!(proved, [false, false, false, false, true]);
    }

    #[test]
    fn what_arrived_is_no_suspect_any_more() {
        let mut suspects = Suspects::default();
        for _ in 0..3 {
            assert!(!suspects.contains(7));
            suspects.lost(7);
            suspects.lost(8);
        }
        suspects.forget(7);
        assert!(!suspects.contains(7));
        assert!(suspects.contains(8));
    }
}

//! The right to settle one delivery: exactly once, on every path.

use tokio::sync::mpsc;

use super::ledger::Verdict;

/// One delivery that the broker waits to hear about. Dropping it gives the message back, to be
/// delivered again: whatever goes wrong, it is neither lost nor left hanging.
#[derive(Debug)]
#[must_use = "dropping it gives the message back to the broker"]
pub struct Delivery {
    tag: u64,
    verdicts: Option<mpsc::Sender<(u64, Verdict)>>,
}

impl Delivery {
    pub(super) fn new(tag: u64, verdicts: mpsc::Sender<(u64, Verdict)>) -> Delivery {
        Delivery {
            tag,
            verdicts: Some(verdicts),
        }
    }

    /// The message is done with.
    pub fn ack(mut self) {
        self.settle(Verdict::Ack);
    }

    /// The message is of no use: the broker puts it to the dead letters of its queue.
    pub fn reject(mut self) {
        self.settle(Verdict::Reject);
    }

    fn settle(&mut self, verdict: Verdict) {
        if let Some(verdicts) = self.verdicts.take() {
            // There is room for every delivery that may be open at once. The channel is closed
            // only after the connection was lost, and then the broker delivers again by itself.
            verdicts.try_send((self.tag, verdict)).unwrap_or_default();
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.settle(Verdict::Requeue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_settles_once() {
        let (sender, mut verdicts) = mpsc::channel(8);
        Delivery::new(1, sender.clone()).ack();
        drop(Delivery::new(2, sender.clone()));
        Delivery::new(3, sender).reject();
        assert_eq!(verdicts.try_recv(), Ok((1, Verdict::Ack)));
        assert_eq!(verdicts.try_recv(), Ok((2, Verdict::Requeue)));
        assert_eq!(verdicts.try_recv(), Ok((3, Verdict::Reject)));
        assert!(verdicts.try_recv().is_err());
    }
}

//! Which deliveries are open, so that those that are done go back to the broker in few frames.

use std::collections::VecDeque;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is done with.
    Ack,
    /// It is given back, to be delivered again.
    Requeue,
    /// It is given back for good.
    Reject,
}

/// One frame to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    /// This delivery and all before it are done with.
    AckUpTo(u64),
    /// This delivery is done with.
    Ack(u64),
    /// This delivery is given back.
    Requeue(u64),
    /// This delivery is given back for good.
    Reject(u64),
}

/// The deliveries of one channel, whose tags count up from 1.
#[derive(Default)]
pub(super) struct Ledger {
    /// Tags in order of arrival, and whether they are acknowledged already or may be.
    open: VecDeque<(u64, State)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
    /// The broker knows already.
    Settled,
}

impl Ledger {
    /// A delivery arrived.
    pub fn arrived(&mut self, tag: u64) {
        self.open.push_back((tag, State::Open));
    }

    /// How many deliveries wait for their verdict.
    pub fn open(&self) -> usize {
        let open = |(_, state): &&(u64, State)| *state == State::Open;
        self.open.iter().filter(open).count()
    }

    /// Takes a batch of verdicts; returns the frames that tell the broker.
    pub fn settle(&mut self, verdicts: &[(u64, Verdict)]) -> Vec<Settlement> {
        let mut frames = Vec::new();
        let mut done = Vec::with_capacity(verdicts.len());
        for (tag, verdict) in verdicts {
            let Ok(index) = self.open.binary_search_by_key(tag, |(tag, _)| *tag) else {
                continue;
            };
            match verdict {
                Verdict::Ack => {
                    self.open[index].1 = State::Done;
                    done.push(*tag);
                }
                Verdict::Requeue => {
                    self.open[index].1 = State::Settled;
                    frames.push(Settlement::Requeue(*tag));
                }
                Verdict::Reject => {
                    self.open[index].1 = State::Settled;
                    frames.push(Settlement::Reject(*tag));
                }
            }
        }
        // "Up to" also covers what is settled already: tags that the broker no longer has are
        // skipped by it only within one such frame.
        let mut up_to = None;
        let mut count = 0;
        while let Some((tag, state)) = self.open.front().copied() {
            match state {
                State::Open => break,
                State::Done => {
                    up_to = Some(tag);
                    count += 1;
                }
                State::Settled => {}
            }
            self.open.pop_front();
        }
        match up_to {
            Some(tag) if count > 1 => frames.push(Settlement::AckUpTo(tag)),
            Some(tag) => frames.push(Settlement::Ack(tag)),
            None => {}
        }
        for tag in done.iter().filter(|tag| up_to < Some(**tag)) {
            frames.push(Settlement::Ack(*tag));
            if let Ok(index) = self.open.binary_search_by_key(tag, |(tag, _)| *tag) {
                self.open[index].1 = State::Settled;
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::Settlement::AckUpTo;
    use super::*;

    fn ledger(tags: u64) -> Ledger {
        let mut ledger = Ledger::default();
        (1..=tags).for_each(|tag| ledger.arrived(tag));
        ledger
    }

    #[test]
    fn a_run_from_the_oldest_is_one_frame() {
        let mut ledger = ledger(5);
        let frames = ledger.settle(&[(3, Verdict::Ack), (1, Verdict::Ack), (2, Verdict::Ack)]);
        assert_eq!(frames, [AckUpTo(3)]);
        assert_eq!(ledger.open(), 2);
    }

    #[test]
    fn a_slow_one_holds_up_nobody() {
        let mut ledger = ledger(4);
        assert_eq!(
            ledger.settle(&[(4, Verdict::Ack), (2, Verdict::Ack)]),
            [Settlement::Ack(4), Settlement::Ack(2)]
        );
        // The oldest comes last; 2 and 4 are not told again.
        assert_eq!(ledger.settle(&[(1, Verdict::Ack)]), [Settlement::Ack(1)]);
        assert_eq!(ledger.settle(&[(3, Verdict::Ack)]), [Settlement::Ack(3)]);
        assert_eq!(ledger.open(), 0);
    }

    #[test]
    fn what_is_given_back_is_not_acknowledged_too() {
        let mut ledger = ledger(3);
        let frames = ledger.settle(&[(2, Verdict::Requeue), (1, Verdict::Ack), (3, Verdict::Ack)]);
        assert_eq!(frames, [Settlement::Requeue(2), AckUpTo(3)]);
        assert_eq!(ledger.settle(&[(2, Verdict::Ack)]), [], "settled once only");
    }
}

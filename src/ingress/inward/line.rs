//! A waiting line: who joined it first has the first turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The line; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// What the last one that joined will tell when it is done.
    last: Mutex<Option<oneshot::Receiver<()>>>,
    waiting: AtomicUsize,
}

/// A place in the line. Dropping it gives the turn to the next one.
pub(super) struct Turn {
    line: Line,
    before: Option<oneshot::Receiver<()>>,
    /// Whoever comes next hears when this is dropped.
    _done: oneshot::Sender<()>,
}

impl Line {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.waiting.load(Ordering::Acquire) == 0
    }

    /// Joins at the end.
    pub(super) fn join(&self) -> Turn {
        let (done, hears) = oneshot::channel();
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        Turn {
            before: self.0.last.lock().replace(hears),
            line: self.clone(),
            _done: done,
        }
    }
}

impl Turn {
    /// Waits for the turn.
    pub(super) async fn comes(&mut self) {
        if let Some(before) = &mut self.before {
            // Nothing is ever sent: the wait is over when the other's place is given up.
            before.await.unwrap_or_default();
            self.before = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.line.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_of_joining() {
        let line = Line::default();
        let (mut first, mut second, mut third) = (line.join(), line.join(), line.join());
        first.comes().await;
        assert!(second.comes().now_or_never().is_none());
        drop(first);
        assert!(third.comes().now_or_never().is_none());
        second.comes().await;
        drop(second);
        third.comes().await;
        assert!(!line.is_empty());
        drop(third);
        assert!(line.is_empty());
    }
}

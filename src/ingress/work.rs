//! What goes on inside the task of one connection.

use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

/// Futures under way, each of which is woken alone. While there are none it takes no memory of its
/// own: most connections are idle most of the time, and have several of these.
pub(super) struct Work<F>(Option<FuturesUnordered<F>>);

impl<F> Default for Work<F> {
    fn default() -> Work<F> {
        Work(None)
    }
}

impl<F: Future> Work<F> {
    pub(super) fn push(&mut self, future: F) {
        self.0.get_or_insert_default().push(future);
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, FuturesUnordered::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What came of the next that is done; pending also while there are none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(all) = &mut self.0 else {
            return Poll::Pending;
        };
        match all.poll_next_unpin(cx) {
            Poll::Ready(Some(done)) => Poll::Ready(done),
            Poll::Ready(None) => {
                self.0 = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits for the next; `None` once all are done.
    pub(super) async fn next(&mut self) -> Option<F::Output> {
        match self.is_empty() {
            true => None,
            false => Some(poll_fn(|cx| self.poll(cx)).await),
        }
    }
}

impl<F: Future + Unpin> Work<F> {
    /// Gives up those that are not to go on. All are taken out and put in again: rare enough.
    pub(super) fn retain(&mut self, goes_on: impl Fn(&F) -> bool) {
        if let Some(all) = self.0.take() {
            self.0 = Some(all.into_iter().filter(goes_on).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, pending, ready};

    use futures_util::FutureExt as _;
    use futures_util::future::Either;

    use super::*;

    #[tokio::test]
    async fn nothing_is_left_of_work_that_is_done() {
        let mut work = Work::<Ready<u8>>::default();
        assert_eq!(work.next().await, None);
        work.push(ready(1));
        work.push(ready(2));
        let mut done = [work.next().await, work.next().await];
        done.sort_unstable();
        assert_eq!(done, [Some(1), Some(2)]);
        assert!(work.is_empty() && work.next().await.is_none());
        assert!(poll_fn(|cx| work.poll(cx)).now_or_never().is_none());
        assert!(work.0.is_none());
    }

    #[tokio::test]
    async fn what_is_given_up_is_not_waited_for() {
        let mut work = Work::default();
        work.push(Either::Left(pending()));
        work.push(Either::Right(ready(1)));
        work.retain(|one| matches!(one, Either::Right(_)));
        assert_eq!(work.next().await, Some(1));
        assert!(work.is_empty());
    }
}

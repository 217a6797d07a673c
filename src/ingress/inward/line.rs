//! Keeps the order of arrival among what must be kept: what cannot be kept yet holds up whatever
//! comes after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The line; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Line(Arc<Mutex<Places>>);

#[derive(Default)]
struct Places {
    next: u64,
    /// By their numbers, so in the order of arrival; what is waited for is told to the first.
    open: BTreeMap<u64, Option<oneshot::Sender<()>>>,
    /// How many of them cannot be kept now.
    held_up: usize,
}

/// A place in the line. Dropping it makes way for the next one.
pub(super) struct Place {
    line: Line,
    number: u64,
    held_up: bool,
}

impl Line {
    /// Joins at the end.
    pub(super) fn enter(&self) -> Place {
        let mut places = self.0.lock();
        let number = places.next;
        places.next += 1;
        places.open.insert(number, None);
        Place {
            line: self.clone(),
            number,
            held_up: false,
        }
    }

    /// Whether something that came before cannot be kept now.
    pub(super) fn is_held_up(&self) -> bool {
        self.0.lock().held_up > 0
    }
}

impl Place {
    /// What stands here cannot be kept now: nothing new may pass it.
    pub(super) fn hold_up(&mut self) {
        if !self.held_up {
            self.held_up = true;
            self.line.0.lock().held_up += 1;
        }
    }

    /// Waits until nothing that came before is left.
    pub(super) async fn comes_first(&self) {
        let hears = {
            let mut places = self.line.0.lock();
            let first = places.open.first_key_value().map(|(number, _)| *number);
            if first == Some(self.number) {
                return;
            }
            let (tell, hears) = oneshot::channel();
            places.open.insert(self.number, Some(tell));
            hears
        };
        // Told or forgotten, it is the first one now.
        hears.await.unwrap_or_default();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.line.0.lock();
        places.open.remove(&self.number);
        if self.held_up {
            places.held_up -= 1;
        }
        if let Some(mut first) = places.open.first_entry()
            && let Some(tell) = first.get_mut().take()
        {
            tell.send(()).unwrap_or_default(); // nobody waits there any more
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_of_arrival() {
        let line = Line::default();
        let (first, second, third) = (line.enter(), line.enter(), line.enter());
        first.comes_first().await;
        assert!(third.comes_first().now_or_never().is_none());
        drop(first);
        assert!(third.comes_first().now_or_never().is_none());
        second.comes_first().await;
        drop(second);
        third.comes_first().await;
    }

    #[tokio::test]
    async fn who_waits_is_told_when_its_turn_comes() {
        let line = Line::default();
        let (first, second, third) = (line.enter(), line.enter(), line.enter());
        let mut waits = std::pin::pin!(third.comes_first());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(second);
        assert!(waits.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waits.now_or_never().is_some());
    }

    #[test]
    fn what_cannot_be_kept_holds_up_the_line_until_it_is_gone() {
        let line = Line::default();
        let (mut first, second) = (line.enter(), line.enter());
        assert!(!line.is_held_up());
        first.hold_up();
        first.hold_up();
        drop(second);
        assert!(line.is_held_up());
        drop(first);
        assert!(!line.is_held_up());
    }
}

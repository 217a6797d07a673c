//! What waits for one reader: bounded in bytes, never waited for by a publisher.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::Placed;

/// The events that wait for one reader, of all its channels, in the order in which they came.
pub(super) struct Mailbox {
    inside: Mutex<Inside>,
    waker: AtomicWaker,
    /// Bytes that may wait.
    room: usize,
}

#[derive(Default)]
struct Inside {
    waiting: VecDeque<Arc<Placed>>,
    bytes: usize,
    /// Something was lost for want of room.
    overrun: bool,
    /// Channels whose events wait in the history, because there was no room for them here.
    behind: Vec<Arc<str>>,
}

/// A subscriber's place in a channel.
pub(super) struct Seat {
    mailbox: Arc<Mailbox>,
    /// What does not fit can be read again from the history.
    has_history: bool,
    /// Gets nothing for now: its reader reads the history. Changed under the mailbox's lock, so
    /// that whoever wakes a seat finds in the history what it did not get before.
    asleep: AtomicBool,
}

impl Mailbox {
    pub(super) fn new(room: usize) -> Mailbox {
        Mailbox {
            inside: Mutex::default(),
            waker: AtomicWaker::new(),
            room,
        }
    }

    /// The next event.
    pub(super) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Arc<Placed>> {
        self.waker.register(cx.waker());
        let mut inside = self.inside.lock();
        match inside.waiting.pop_front() {
            Some(placed) => {
                inside.bytes -= placed.cost();
                Poll::Ready(placed)
            }
            None => {
                if inside.waiting.capacity() > 64 {
                    inside.waiting = VecDeque::new();
                }
                Poll::Pending
            }
        }
    }

    /// Whether something was lost, so that the reader has to go.
    pub(super) fn is_overrun(&self) -> bool {
        self.inside.lock().overrun
    }

    /// The channels whose events are to be read from the history, and forgets them.
    pub(super) fn take_behind(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.inside.lock().behind)
    }
}

impl Seat {
    pub(super) fn new(mailbox: &Arc<Mailbox>, has_history: bool) -> Seat {
        Seat {
            mailbox: mailbox.clone(),
            has_history,
            asleep: AtomicBool::new(false),
        }
    }

    /// Puts an event into the mailbox. One alone may be larger than the room.
    pub(super) fn push(&self, placed: &Arc<Placed>) {
        let mut inside = self.mailbox.inside.lock();
        if self.asleep.load(Ordering::Relaxed) || inside.overrun {
            return;
        }
        let bytes = inside.bytes + placed.cost();
        let alone = inside.waiting.is_empty();
        // A burst leaves room for channels that have no history to fall back on.
        if self.has_history && bytes > self.mailbox.room / 2 && !alone {
            self.asleep.store(true, Ordering::Relaxed);
            inside.behind.push(placed.event.channel.clone());
        } else if bytes > self.mailbox.room && !alone {
            inside.overrun = true;
            inside.waiting = VecDeque::new();
            inside.bytes = 0;
        } else {
            inside.waiting.push_back(placed.clone());
            inside.bytes = bytes;
        }
        drop(inside);
        self.mailbox.waker.wake();
    }

    /// From now on it gets events, or none.
    pub(super) fn set_asleep(&self, asleep: bool) {
        let _inside = self.mailbox.inside.lock();
        self.asleep.store(asleep, Ordering::Relaxed);
    }
}

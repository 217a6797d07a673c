//! Reading what a reader has missed, page by page.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::{Subscribed, Subscriber};
use crate::call::Fault;
use crate::channel::{Placed, Position};
use crate::store::{Page, Which};

/// Events, and bytes, that are read at once.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 64 * 1024;

/// A subscription whose first page is not here yet.
pub(super) struct Joining {
    /// Who is told when it is.
    pub(super) tickets: Vec<u64>,
    pub(super) since: Option<Position>,
}

/// A page that was read.
pub(super) struct Read {
    channel: Arc<str>,
    /// The subscription it was read for.
    number: u64,
    page: Result<Page, Fault>,
}

/// A page that is being told.
pub(super) struct Taking {
    pub(super) channel: Arc<str>,
    events: VecDeque<Arc<Placed>>,
}

impl Subscriber {
    /// Reads the page behind what was told. From now on the mailbox gets what comes later.
    pub(super) fn read(&mut self, channel: &Arc<str>) {
        let Some(subscription) = self.subscriptions.get_mut(channel) else {
            return;
        };
        subscription.paging = false;
        subscription.seat.set_asleep(false);
        let epoch = self.hub.epoch;
        let joining = subscription.joining.as_ref();
        // Who names no place, or one that means nothing any more, only learns where it joins.
        let nothing = joining.is_some_and(|j| j.since.is_none_or(|since| since.epoch != epoch));
        let count = if nothing { 0 } else { PAGE };
        let which = Which::After(subscription.told.seq);
        let (hub, channel, number) = (self.hub.clone(), channel.clone(), subscription.number);
        let read = async move {
            let page = hub.page(&channel, which, count, PAGE_BYTES).await;
            Read {
                page,
                channel,
                number,
            }
        };
        self.reads.push(read.boxed());
    }

    /// Takes up a page. The first one says what came of the subscription.
    pub(super) fn take_up(&mut self, read: Read) {
        let Read {
            channel,
            number,
            page,
        } = read;
        let subscription = self.subscriptions.get_mut(&channel);
        let Some(subscription) = subscription.filter(|one| one.number == number) else {
            return; // it was ended meanwhile
        };
        let joining = subscription.joining.take();
        let page = match (page, &joining) {
            (Ok(page), _) => page,
            (Err(fault), Some(joining)) => {
                let tickets = joining.tickets.iter();
                let told = tickets.map(|ticket| (*ticket, Err(fault.clone())));
                self.told.extend(told);
                self.unsubscribe(&channel);
                return;
            }
            (Err(fault), None) => {
                tracing::debug!(%fault, "a reader cannot be told what it missed");
                self.lost = true;
                return;
            }
        };
        if let Some(Joining { tickets, since }) = joining {
            let position = self.hub.position(page.seq);
            let since =
                since.filter(|since| since.epoch == position.epoch && since.seq <= position.seq);
            let subscribed = Subscribed {
                position,
                recovered: since.is_some_and(|since| since.seq + 1 >= page.first),
            };
            subscription.told = match since {
                Some(since) => self.hub.position(since.seq.max(page.first - 1)),
                None => position,
            };
            let told = tickets.into_iter().map(|ticket| (ticket, Ok(subscribed)));
            self.told.extend(told);
        } else if subscription.told.seq + 1 < page.first {
            self.lost = true; // the history has forgotten what was not told yet
            return;
        }
        let Some(last) = page.events.last() else {
            return;
        };
        let more = last.seq < page.seq;
        subscription.paging = more;
        subscription.seat.set_asleep(more);
        let placed = |record| Arc::new(self.hub.placed(&channel, record));
        let taking = Taking {
            events: page.events.into_iter().map(placed).collect(),
            channel: channel.clone(),
        };
        match more {
            true => self.pages.push_back(taking),
            false => self.last_pages.push_back(taking),
        }
    }

    /// The next event of a last page.
    pub(super) fn next_of_last_page(&mut self) -> Option<Arc<Placed>> {
        loop {
            match self.last_pages.front_mut()?.events.pop_front() {
                Some(placed) => return Some(self.tell(placed)),
                None => self.last_pages.pop_front(),
            };
        }
    }

    /// The next event of another page; behind the last one of it, the next page is read.
    pub(super) fn next_of_page(&mut self) -> Option<Arc<Placed>> {
        let taking = self.pages.front_mut()?;
        let placed = taking.events.pop_front()?;
        if taking.events.is_empty() {
            let channel = self.pages.pop_front()?.channel;
            let placed = self.tell(placed);
            self.read(&channel);
            return Some(placed);
        }
        Some(self.tell(placed))
    }

    /// Reads on where the mailbox had no room. Says whether there is such a channel.
    pub(super) fn catch_up(&mut self) -> bool {
        let behind = self.mailbox.take_behind();
        for channel in &behind {
            let subscription = self.subscriptions.get(channel);
            if subscription.is_some_and(|one| !one.paging) {
                self.read(channel);
            }
        }
        !behind.is_empty()
    }

    fn tell(&mut self, placed: Arc<Placed>) -> Arc<Placed> {
        if let Some(subscription) = self.subscriptions.get_mut(&placed.event.channel) {
            subscription.told = placed.position;
        }
        placed
    }
}

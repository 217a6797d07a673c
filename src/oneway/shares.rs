//! How many of the places for one-way calls each route may hold, so that one whose target hangs
//! leaves room for the others.
//!
//! A route may hold no more places than are free. What is over that is kept aside until the route
//! gives a place back: tried again from time to time, it would be read from disk over and over.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

/// The places, and what is kept aside: dropping it gives it back to its queue, where it comes
/// first.
pub(super) struct Shares<T> {
    places: usize,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    held: usize,
    routes: HashMap<Arc<str>, Share<T>>,
}

struct Share<T> {
    held: usize,
    aside: VecDeque<T>,
}

/// A place that a route holds; given back also by a panic.
pub(super) struct Place<T> {
    shares: Arc<Shares<T>>,
    route: Arc<str>,
}

impl<T> Shares<T> {
    /// So many places in all.
    pub(super) fn new(places: usize) -> Arc<Shares<T>> {
        Arc::new(Shares {
            places,
            inner: Mutex::new(Inner {
                held: 0,
                routes: HashMap::new(),
            }),
        })
    }

    /// Takes one of at most `most` places of this route; `None` if the call is kept aside.
    pub(super) fn enter(
        self: &Arc<Self>,
        route: &Arc<str>,
        most: usize,
        call: T,
    ) -> Option<(T, Place<T>)> {
        let mut inner = self.inner.lock();
        let free = self.places.saturating_sub(inner.held);
        let share = inner.routes.entry(route.clone()).or_default();
        // Without a call that ends nothing would bring back what is kept aside.
        if share.held > 0 && share.held >= most.min(free) {
            share.aside.push_back(call);
            return None;
        }
        share.held += 1;
        // There may be more room than when the others were kept aside.
        let has_room = share.held < most.min(free.saturating_sub(1));
        let next = if has_room {
            share.aside.pop_front()
        } else {
            None
        };
        inner.held += 1;
        drop(inner);
        drop(next);
        let place = Place {
            shares: self.clone(),
            route: route.clone(),
        };
        Some((call, place))
    }

    /// Gives back what is kept aside for routes that hold nothing: whatever they gave back last
    /// never came, because it was purged meanwhile, say.
    pub(super) fn free_stranded(&self) {
        let mut inner = self.inner.lock();
        let stranded = inner.routes.extract_if(|_, share| share.held == 0);
        let stranded: Vec<_> = stranded.collect();
        drop(inner);
        drop(stranded);
    }
}

impl<T> Default for Share<T> {
    fn default() -> Share<T> {
        Share {
            held: 0,
            aside: VecDeque::new(),
        }
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let mut inner = self.shares.inner.lock();
        inner.held -= 1;
        let Some(share) = inner.routes.get_mut(&self.route) else {
            return;
        };
        share.held -= 1;
        let next = share.aside.pop_front();
        if share.held == 0 && share.aside.is_empty() {
            inner.routes.remove(&self.route);
        }
        drop(inner);
        drop(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says when it is given back.
    struct Call(Arc<Mutex<Vec<u32>>>, u32);

    impl Drop for Call {
        fn drop(&mut self) {
            self.0.lock().push(self.1);
        }
    }

    #[test]
    fn a_route_that_hangs_leaves_places_and_spins_nothing() {
        let back = Arc::default();
        let shares = Shares::new(8);
        let (slow, other) = ("slow".into(), "other".into());
        let enter = |route, number| shares.enter(route, 8, Call(Arc::clone(&back), number));
        let mut hanging: Vec<_> = (0..10).filter_map(|n| enter(&slow, n)).collect();
        assert_eq!(hanging.len(), 4);
        assert!(back.lock().is_empty(), "kept aside");
        let others: Vec<_> = (20..22).filter_map(|n| enter(&other, n)).collect();
        assert_eq!(others.len(), 2);

        // One ends, and the first that was kept aside is next.
        drop(hanging.pop());
        assert_eq!(*back.lock(), [3, 4], "3 is over, 4 comes again");
    }

    #[test]
    fn a_route_with_a_bound_of_its_own_holds_no_more() {
        let shares = Shares::new(8);
        let route = "one by one".into();
        let first = shares.enter(&route, 1, ());
        assert!(first.is_some());
        assert!(shares.enter(&route, 1, ()).is_none());
        drop(first);
        assert!(shares.enter(&route, 1, ()).is_some());
    }

    #[test]
    fn what_is_kept_aside_comes_back_even_if_nothing_ends_any_more() {
        let back = Arc::default();
        let shares = Shares::new(8);
        let route = "slow".into();
        let enter = |number| shares.enter(&route, 1, Call(Arc::clone(&back), number));
        let first = enter(0);
        assert!((1..4).all(|number| enter(number).is_none()));
        shares.free_stranded();
        assert!(back.lock().is_empty(), "one is still to end");
        drop(first);
        back.lock().clear();
        // 1 was given back, and was purged.
        shares.free_stranded();
        assert_eq!(*back.lock(), [2, 3]);
    }
}

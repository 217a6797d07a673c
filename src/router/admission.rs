//! Who may pass a row right now: its rate per caller, its concurrency and the queue before it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::{Fault, Kind};
use crate::config::{Rate, Route};

/// The limit that was reached, and what whoever reached it is told.
pub(super) type Refused = (&'static str, Fault);

pub(super) struct Admission {
    rate: Option<Buckets>,
    places: Option<Places>,
}

struct Buckets {
    limiter: DefaultKeyedRateLimiter<Arc<str>>,
    clock: DefaultClock,
}

struct Places {
    free: Semaphore,
    waiting: AtomicUsize,
    queue: usize,
}

impl Admission {
    pub(super) fn new(route: &Route) -> Admission {
        Admission {
            rate: route.rate.and_then(Buckets::new),
            places: route.concurrency.map(|concurrency| Places {
                free: Semaphore::new(concurrency),
                waiting: AtomicUsize::new(0),
                queue: route.queue,
            }),
        }
    }

    /// Whether this caller is within its rate.
    pub(super) fn check_rate(&self, caller: &Arc<str>) -> Result<(), Refused> {
        match &self.rate {
            Some(buckets) => buckets.take(caller).map_err(|fault| ("rate", fault)),
            None => Ok(()),
        }
    }

    /// Takes a place, waiting in the bounded queue if need be. The caller's deadline bounds the
    /// wait by dropping the future.
    pub(super) async fn take_place(&self) -> Result<Option<SemaphorePermit<'_>>, Refused> {
        match &self.places {
            Some(places) => places.take().await.map(Some),
            None => Ok(None),
        }
    }
}

impl Buckets {
    fn new(rate: Rate) -> Option<Buckets> {
        let burst = NonZeroU32::new(rate.count)?;
        let quota = Quota::with_period(rate.period / rate.count)?.allow_burst(burst);
        // Keyed by token name, so its size is bounded by the configuration.
        Some(Buckets {
            limiter: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
        })
    }

    fn take(&self, caller: &Arc<str>) -> Result<(), Fault> {
        self.limiter.check_key(caller).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            Fault::over_own_rate("you call this method more often than its rate allows", wait)
        })
    }
}

impl Places {
    async fn take(&self) -> Result<SemaphorePermit<'_>, Refused> {
        if let Ok(permit) = self.free.try_acquire() {
            return Ok(permit);
        }
        let Some(_place) = Waiting::enter(self) else {
            let limit = if self.queue == 0 {
                "concurrency"
            } else {
                "queue"
            };
            let fault = Fault::new(Kind::Overloaded, "this method is busy, try again soon")
                .with_retry_after(Duration::from_secs(1));
            return Err((limit, fault));
        };
        self.free.acquire().await.map_err(|_closed| {
            (
                "concurrency",
                Fault::new(Kind::ShuttingDown, "the routing table was replaced"),
            )
        })
    }
}

/// One place in the queue, given back also when the caller goes away.
struct Waiting<'a>(&'a Places);

impl<'a> Waiting<'a> {
    fn enter(places: &'a Places) -> Option<Waiting<'a>> {
        let waiting = places.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Waiting(places);
        (waiting < places.queue).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

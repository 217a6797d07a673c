//! Carries out the calls that were accepted, until each is done or dead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::record::{self, Header};
use super::shares::Shares;
use super::states::State;
use super::{OneWay, QUEUE, letter_of};
use crate::call::{Fault, Kind, unix_ms};
use crate::config::Route;
use crate::context::Context;
use crate::router::Trie;
use crate::spool::{Consumer, Item};

/// Calls that are carried out at once.
const AT_ONCE: usize = 256;
/// Calls of an earlier process whose states can be asked for.
const RECOVERED: usize = 100_000;
/// A call that failed by itself so often will not go better.
const FAILURES: u32 = 5;
/// A call that was handed over so often without an answer may have been carried out each time. A
/// device that is away for an hour is found when it is back.
const UNANSWERED: u32 = 100;
/// The wait before the second try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Between two times that all of them are tried at once.
const LULL: Duration = Duration::from_millis(500);
/// Between two looks for calls that are kept aside for nobody.
const STRANDED: Duration = Duration::from_secs(5);

/// Carries out what is accepted, and what an earlier process left, until the drain.
pub fn start(context: &Context) {
    for left in context.spool.waiting(Some(QUEUE), RECOVERED) {
        context.oneway.remember(&left.body);
    }
    let consumer = context.spool.consume(QUEUE);
    context.background.spawn(run(context.clone(), consumer));
    context.background.spawn(nudge(context.clone()));
}

async fn run(context: Context, mut consumer: Consumer) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let shares = Shares::new(AT_ONCE);
    let routes = Arc::new(routes(&context));
    let mut look = tokio::time::interval(STRANDED);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.ok()?;
            Some((consumer.next().await, place))
        };
        let next = tokio::select! {
            biased;
            // What was not begun stays on disk for the next process.
            () = context.drain.cancelled() => return,
            _ = look.tick() => {
                shares.free_stranded();
                continue;
            }
            next = next => next,
        };
        let Some((item, place)) = next else { return };
        let running = Running {
            context: context.clone(),
            shares: shares.clone(),
            routes: routes.clone(),
        };
        context.tasks.spawn(running.carry_out(item, place));
    }
}

/// The routes by what they take.
fn routes(context: &Context) -> Trie<Arc<Route>> {
    let mut routes = Trie::default();
    for route in &context.config.routes {
        routes.insert(&route.pattern, route.clone());
    }
    routes
}

/// When somebody comes who may carry out what waits, it waits no longer.
async fn nudge(context: Context) {
    loop {
        tokio::select! {
            () = context.drain.cancelled() => return,
            () = context.workers.offered() => {}
            () = context.links.came_up() => {}
        }
        context.spool.retry_now(Some(QUEUE));
        // Many may come at the same time, after an outage say.
        tokio::time::sleep(LULL).await;
    }
}

/// What to do with a call that failed.
enum Verdict {
    /// It will never go better.
    Dead,
    /// It may, but not for ever.
    Failed,
    /// It may have been carried out, and nobody knows.
    Unanswered,
    /// Whoever carries it out is not there now.
    Later,
}

impl Verdict {
    fn of(fault: &Fault) -> Verdict {
        match fault.kind {
            Kind::ParseError
            | Kind::InvalidRequest
            | Kind::MethodNotFound
            | Kind::InvalidParams
            | Kind::Unauthenticated
            | Kind::Forbidden
            | Kind::TooLarge => Verdict::Dead,
            Kind::ScriptError | Kind::ScriptLimit | Kind::TargetError | Kind::Internal => {
                Verdict::Failed
            }
            Kind::Timeout => Verdict::Unanswered,
            Kind::Unavailable | Kind::NoResponder if !fault.may_retry() => Verdict::Unanswered,
            Kind::Unavailable
            | Kind::NoResponder
            | Kind::Overloaded
            | Kind::Cancelled
            | Kind::ShuttingDown => Verdict::Later,
        }
    }
}

struct Running {
    context: Context,
    shares: Arc<Shares<Item>>,
    routes: Arc<Trie<Arc<Route>>>,
}

impl Running {
    async fn carry_out(self, mut item: Item, _place: OwnedSemaphorePermit) {
        // What is kept aside takes no memory for what it holds.
        let body = std::mem::take(&mut item.body);
        let Some((header, params)) = record::read(&body) else {
            // Its checksum was right, so another callway wrote it; nobody can make a call of it.
            self.context.metrics.dropped("spool", "unreadable");
            return item.done();
        };
        let (route, most) = self.route(&header);
        let Some((item, _share)) = self.shares.enter(&route, most, item) else {
            return;
        };
        let id = header.id().unwrap_or_default();
        let states = &self.oneway().states;
        states.set(id, &header.caller, State::Sent);
        let outcome = self.try_once(&header, params.clone()).await;
        match outcome {
            Ok(()) => {
                states.set(id, &header.caller, State::Done);
                item.done();
            }
            Err(fault) if self.is_dead(id, &fault, &item) => {
                self.bury(&header, params, &fault, item).await;
            }
            Err(fault) => {
                tracing::debug!(call_id = %header.call_id, %fault, "a one-way call is tried again");
                states.wait(id);
                let wait = wait_before(item.attempts);
                item.later(wait);
            }
        }
    }

    fn oneway(&self) -> &OneWay {
        &self.context.oneway
    }

    /// What the call shares its places with, and how many those are at most: more than its route
    /// lets in would only wait there until their deadlines.
    fn route(&self, header: &Header) -> (Arc<str>, usize) {
        match self.routes.find(&header.method) {
            Some(route) => {
                let most = route.concurrency.unwrap_or(AT_ONCE);
                (route.pattern.text().clone(), most)
            }
            None => (header.method.clone(), AT_ONCE),
        }
    }

    async fn try_once(&self, header: &Header, params: Bytes) -> Result<(), Fault> {
        let context = &self.context;
        // The grants are those of today: who may not call any more does not.
        let caller = context.auth.by_name(&header.caller).ok_or_else(|| {
            Fault::new(
                Kind::Unauthenticated,
                "the token that called is no longer known",
            )
        })?;
        let deadline = context.dispatcher.deadline(None);
        let call = header.call(params, caller, deadline);
        context.dispatcher.carry_out(call).await.map(drop)
    }

    fn is_dead(&self, id: crate::call::CallId, fault: &Fault, item: &Item) -> bool {
        let age = unix_ms().saturating_sub(item.accepted);
        if Duration::from_millis(age) > self.context.config.limits.spool_age {
            self.context.metrics.limit_reached("spool_age");
            return true;
        }
        match Verdict::of(fault) {
            Verdict::Dead => true,
            Verdict::Failed => self.oneway().states.failed(id) >= FAILURES,
            Verdict::Unanswered => self.oneway().states.failed(id) >= UNANSWERED,
            Verdict::Later => false,
        }
    }

    async fn bury(&self, header: &Header, params: Bytes, fault: &Fault, item: Item) {
        tracing::warn!(call_id = %header.call_id, method = %header.method, %fault,
            "a one-way call is dead");
        match self.context.bury(letter_of(header, params, fault)).await {
            Ok(()) => {
                let id = header.id().unwrap_or_default();
                self.oneway().states.set(id, &header.caller, State::Dead);
                item.done();
            }
            // It stays where it is until it can be buried.
            Err(_not_kept) => item.later(LONGEST_WAIT),
        }
    }
}

/// Doubles with every try.
fn wait_before(attempts: u32) -> Duration {
    (FIRST_WAIT * 2u32.pow(attempts.min(10))).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_carried_out_is_counted() {
        let away = Fault::unavailable("link_down", "away");
        assert!(matches!(Verdict::of(&away), Verdict::Later));
        assert!(matches!(
            Verdict::of(&away.handed_over()),
            Verdict::Unanswered
        ));
        let late = Fault::new(Kind::Timeout, "late");
        assert!(matches!(Verdict::of(&late), Verdict::Unanswered));
    }
}

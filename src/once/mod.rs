//! Carried out once: an idempotency key makes a repeat of a call return the first outcome.
//!
//! The start of a call is on disk before the call is carried out, and its outcome before anybody
//! hears of it. So a key never makes a method run twice, not even across a crash: a call whose end
//! was lost with the process is not repeated, and whoever asks learns that its outcome is unknown.
//! A call with a key goes on when its caller goes away: whoever comes back for the outcome gets it.

mod outcome;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

use crate::call::{Call, Fault, Kind, Outcome};
use crate::config::Limits;
use crate::context::Context;
use crate::observe::Metrics;
use crate::store::{Begun, KeyName, Store};

/// The longest key, in bytes.
const LONGEST_KEY: usize = 255;
/// Between two times that old keys are forgotten.
const SWEEP: Duration = Duration::from_secs(30);

/// The calls with keys; cheap to clone.
#[derive(Clone)]
pub struct Once(Arc<Inner>);

struct Inner {
    store: Store,
    window: Duration,
    /// So many may run: they go on without their callers, whom other limits count.
    most: usize,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    running: Mutex<HashMap<KeyName, Running>>,
}

/// A call that is being carried out.
struct Running {
    params: [u8; 32],
    ended: watch::Receiver<Option<Outcome>>,
}

impl Once {
    /// Outcomes are remembered for `limits.key_window`; calls run in `tasks`, at most
    /// `limits.in_flight`.
    pub fn new(store: Store, limits: &Limits, metrics: Arc<Metrics>, tasks: TaskTracker) -> Once {
        Once(Arc::new(Inner {
            store,
            window: limits.key_window,
            most: limits.in_flight,
            metrics,
            tasks,
            running: Mutex::new(HashMap::new()),
        }))
    }

    /// Forgets old keys from time to time, until the process stops.
    pub fn sweep(&self, context: &Context) {
        let (once, stop) = (self.clone(), context.stop.clone());
        context.background.spawn(async move {
            let mut due = tokio::time::interval(SWEEP.min(once.0.window));
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = due.tick() => {}
                    () = stop.cancelled() => return,
                }
                if let Err(fault) = once.0.store.forget_keys(once.0.window).await {
                    tracing::warn!(%fault, "old idempotency keys could not be forgotten");
                }
            }
        });
    }

    /// The outcome of the first call with this key, which is carried out by `work` if it is this
    /// one. `receipt` tells whether the outcome is but a receipt.
    ///
    /// Returns `invalid_request` if the key belongs to a call with other params or to one with a
    /// receipt for an outcome, `unavailable` if the outcome of its call is unknown or nothing can
    /// be kept, `overloaded` if it would begin and too many run.
    pub async fn run<W>(
        &self,
        call: &Call,
        key: &Arc<str>,
        receipt: bool,
        work: impl FnOnce() -> W,
    ) -> Outcome
    where
        W: Future<Output = Outcome> + Send + 'static,
    {
        let name = KeyName {
            caller: call.caller.token().name.clone(),
            method: call.method.clone(),
            key: key.clone(),
        };
        let params = fingerprint(call.params.bytes(), receipt);
        self.run_as(name, params, work).await
    }

    /// The same for work that is no call; `params` is what tells its params from others.
    pub async fn run_as<W>(
        &self,
        name: KeyName,
        params: [u8; 32],
        work: impl FnOnce() -> W,
    ) -> Outcome
    where
        W: Future<Output = Outcome> + Send + 'static,
    {
        if name.key.is_empty() || name.key.len() > LONGEST_KEY {
            let why = format!("an idempotency key has 1 to {LONGEST_KEY} bytes");
            return Err(Fault::new(Kind::InvalidRequest, why));
        }
        let mut ended = self.join(name, params, work)?;
        match ended.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(unknown())),
            Err(_gone) => Err(Fault::new(
                Kind::Internal,
                "a defect of callway; its log has this call's id",
            )),
        }
    }

    /// Waits with whoever is there already, else begins.
    fn join<W>(
        &self,
        name: KeyName,
        params: [u8; 32],
        work: impl FnOnce() -> W,
    ) -> Result<watch::Receiver<Option<Outcome>>, Fault>
    where
        W: Future<Output = Outcome> + Send + 'static,
    {
        let mut running = self.0.running.lock();
        if let Some(first) = running.get(&name) {
            return match first.params == params {
                true => Ok(first.ended.clone()),
                false => Err(other_params()),
            };
        }
        if running.len() >= self.0.most {
            self.0.metrics.limit_reached("in_flight");
            return Err(crowded());
        }
        let (tell, ended) = watch::channel(None);
        let call = Running {
            params,
            ended: ended.clone(),
        };
        running.insert(name.clone(), call);
        let place = Place {
            inner: self.0.clone(),
            name,
        };
        let work = work();
        self.0.tasks.spawn(async move {
            let outcome = place.carry_out(params, work).await;
            // Order matters: who comes after this finds the outcome in the store.
            drop(place);
            tell.send_replace(Some(outcome));
        });
        Ok(ended)
    }
}

/// The place of a call among those that are carried out; given back also by a panic.
struct Place {
    inner: Arc<Inner>,
    name: KeyName,
}

impl Place {
    async fn carry_out(&self, params: [u8; 32], work: impl Future<Output = Outcome>) -> Outcome {
        let Inner { store, window, .. } = &*self.inner;
        match store.begin_key(&self.name, params, *window).await? {
            Begun::Fresh => {}
            Begun::Other => return Err(other_params()),
            Begun::Unknown => return Err(unknown()),
            Begun::Ended(kept) => return outcome::read(kept).unwrap_or_else(|| Err(unknown())),
        }
        let outcome = work.await;
        let kept = match outcome::is_final(&outcome) {
            true => outcome::write(&outcome).map(|bytes| bytes.to_vec()),
            false => None,
        };
        if let Err(fault) = store.end_key(&self.name, kept).await {
            // What was done is done: the caller hears of it, and a repeat is not carried out.
            tracing::error!(method = %self.name.method, %fault, "an outcome could not be kept");
        }
        outcome
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.running.lock().remove(&self.name);
    }
}

/// The SHA-256 of params, as they came, and of whether they are for a receipt.
pub fn fingerprint(params: &[u8], receipt: bool) -> [u8; 32] {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    digest.update(&[u8::from(receipt)]);
    digest.update(params);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    bytes
}

fn other_params() -> Fault {
    Fault::new(
        Kind::InvalidRequest,
        "this idempotency key was used with other params, or for a receipt where this call wants \
         an outcome; take another key for another call",
    )
    .with_http_status(422)
}

fn crowded() -> Fault {
    let message = "too many calls with idempotency keys are under way, try again soon";
    Fault::new(Kind::Overloaded, message).with_retry_after(Duration::from_secs(1))
}

fn unknown() -> Fault {
    Fault::unavailable(
        "outcome_unknown",
        "a call with this key was under way when callway ended, and nobody knows whether it was \
         carried out; look, and take another key to do it again",
    )
    .handed_over()
}

#[cfg(test)]
mod tests;

//! The one way from a call to its outcome: name, grant, route, limits, params, target.

mod record;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::record::Record;
use super::name;
use super::table::{Row, Table};
use crate::auth::{Verb, token_ended};
use crate::call::{Call, Deadline, Defect, Fault, Kind, Outcome};
use crate::config::Limits;
use crate::observe::Metrics;
use crate::once::Once;
use crate::oneway::OneWay;

/// Takes calls to their targets. Everything that can call goes through here, so permission,
/// limits, deadlines and what is observed exist once.
pub struct Dispatcher {
    table: ArcSwap<Table>,
    limits: Limits,
    metrics: Arc<Metrics>,
    in_flight: AtomicUsize,
    draining: AtomicBool,
    cut_off: CancellationToken,
    once: Once,
    oneway: Arc<OneWay>,
}

/// What is wanted of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Its outcome; a receipt, where its route is one-way.
    Outcome,
    /// A receipt, whatever its route says.
    Receipt,
    /// That it is carried out now, after a receipt was given.
    Work,
}

impl Want {
    /// Whether a call on this row gets a receipt, and is carried out later.
    fn is_receipt(self, row: &Row) -> bool {
        match self {
            Want::Outcome => row.route.one_way,
            Want::Receipt => true,
            Want::Work => false,
        }
    }
}

impl Dispatcher {
    /// Over a routing table.
    pub fn new(
        table: Table,
        limits: Limits,
        metrics: Arc<Metrics>,
        once: Once,
        oneway: Arc<OneWay>,
    ) -> Dispatcher {
        Dispatcher {
            table: ArcSwap::from_pointee(table),
            limits,
            metrics,
            in_flight: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            cut_off: CancellationToken::new(),
            once,
            oneway,
        }
    }

    /// Puts another table in place. Calls under way keep the row that they found.
    pub fn replace_table(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    /// From now on every new call is refused with `shutting_down`; calls under way go on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Ends the calls that are still under way with `shutting_down`: a drain has its limit.
    pub fn cut_off(&self) {
        self.cut_off.cancel();
    }

    /// Goes the way of a call as far as its target, which shows that calls can be taken. What the
    /// watchdog lives on.
    pub async fn probe(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let table = self.table.load_full();
        // The pause lets the runtime take up other work, as a call's wait for its target does.
        tokio::task::yield_now().await;
        table.find("callway.probe");
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many calls are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The deadline of a call that arrived just now: what its caller wants, within the limits.
    pub fn deadline(&self, wanted: Option<Duration>) -> Deadline {
        Deadline::after(
            wanted
                .unwrap_or(self.limits.timeout)
                .min(self.limits.max_timeout),
        )
    }

    /// Whether the row that takes this name, if there is one, may be called by HTTP GET.
    pub fn allows_get(&self, name: &str) -> Option<bool> {
        self.table.load().find(name).map(|row| row.route.get)
    }

    /// Whether a row takes this name.
    pub fn has_route(&self, name: &str) -> bool {
        name::check(name).is_ok() && self.table.load().find(name).is_some()
    }

    /// Whether calls of this name get a receipt instead of an outcome.
    pub fn is_one_way(&self, name: &str) -> bool {
        let table = self.table.load();
        table.find(name).is_some_and(|row| row.route.one_way)
    }

    /// Takes one call to its outcome. Dropping the future cancels the call, unless it has an
    /// idempotency key: then it goes on for whoever comes back for its outcome.
    pub fn call(self: &Arc<Self>, call: Call) -> impl Future<Output = Outcome> + Send + use<> {
        self.take(call, Want::Outcome)
    }

    /// Accepts a call whose caller waits for no outcome: it is on disk when this comes back with a
    /// receipt, and is carried out later.
    pub fn accept(self: &Arc<Self>, call: Call) -> impl Future<Output = Outcome> + Send + use<> {
        self.take(call, Want::Receipt)
    }

    /// Carries out a call that was accepted.
    pub fn carry_out(self: &Arc<Self>, call: Call) -> impl Future<Output = Outcome> + Send + use<> {
        self.take(call, Want::Work)
    }

    /// Takes a call through all checks to what is wanted of it, and records it.
    fn take(
        self: &Arc<Self>,
        mut call: Call,
        want: Want,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let this = self.clone();
        // An `async fn` would hold the call twice.
        async move {
            let now = Instant::now();
            let mut record = Record::start(&this, &call, now);
            let outcome = this.admit(&mut call, &mut record.target, want, now);
            let outcome = outcome.await.map_err(|mut fault| {
                // The fault of a repeat names the call that it was the outcome of.
                let of_another = call.key.is_some() && fault.call_id.is_some();
                if !of_another {
                    fault.call_id = Some(call.id);
                }
                fault
            });
            record.outcome = match &outcome {
                Ok(reply) if reply.receipt.is_some() => "accepted",
                Ok(_) => "ok",
                Err(fault) => fault.kind.as_str(),
            };
            outcome
        }
    }

    async fn admit(
        self: &Arc<Self>,
        call: &mut Call,
        target: &mut &'static str,
        want: Want,
        now: Instant,
    ) -> Outcome {
        if call.caller.has_ended() {
            return Err(token_ended());
        }
        name::check(&call.method)?;
        if !call.caller.may(Verb::Call, &call.method) {
            return Err(forbidden(&call.method));
        }
        let table = self.table.load_full();
        let Some(row) = table.find(&call.method) else {
            return Err(Fault::new(
                Kind::MethodNotFound,
                "no route takes this method; see `callway routes`",
            ));
        };
        *target = row.route.target.kind();
        self.check_limits(call, row)?;
        if let Some(timeout) = row.route.timeout {
            call.deadline = call.deadline.min(Deadline::from_moment(now, timeout));
        }
        let latest = Deadline::from_moment(now, self.limits.max_timeout);
        call.deadline = call.deadline.min(latest);
        if call.deadline.instant() <= now {
            return Err(timed_out());
        }
        match call.key.take() {
            None => self.until_deadline(call, row, want).await,
            Some(key) => {
                // In memory of its own, as what few calls need is everywhere here: a call that
                // waits is to take up little.
                let outcome = Box::pin(self.with_key(call, &key, row, want)).await;
                call.key = Some(key);
                outcome
            }
        }
    }

    /// Carries out a call with an idempotency key, or gets the outcome of the one that was.
    async fn with_key(
        self: &Arc<Self>,
        call: &Call,
        key: &Arc<str>,
        row: &Arc<Row>,
        want: Want,
    ) -> Outcome {
        let work = || {
            let (this, row, mut call) = (self.clone(), row.clone(), call.clone());
            async move {
                let outcome = this.until_deadline(&mut call, &row, want).await;
                outcome.map_err(|mut fault| {
                    fault.call_id = Some(call.id);
                    fault
                })
            }
        };
        let receipt = want.is_receipt(row);
        let outcome = self.once.run(call, key, receipt, work);
        let outcome = tokio::time::timeout_at(call.deadline.instant(), outcome);
        outcome.await.unwrap_or_else(|_elapsed| Err(timed_out()))
    }

    async fn until_deadline(&self, call: &mut Call, row: &Row, want: Want) -> Outcome {
        let deadline = call.deadline;
        let caller_ended = call.caller.ended();
        let run = tokio::time::timeout_at(deadline.instant(), self.enter_and_run(call, row, want));
        tokio::select! {
            biased;
            outcome = run => outcome.unwrap_or_else(|_elapsed| Err(timed_out())),
            () = self.cut_off.cancelled() => Err(cut_off()),
            () = caller_ended => Err(token_ended()),
        }
    }

    fn check_limits(&self, call: &Call, row: &Row) -> Result<(), Fault> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Fault::shutting_down());
        }
        if self.in_flight.load(Ordering::Relaxed) > self.limits.in_flight {
            self.metrics.limit_reached("in_flight");
            return Err(Fault::new(
                Kind::Overloaded,
                "too many calls are under way, try again soon",
            )
            .with_retry_after(Duration::from_secs(1)));
        }
        if call.hops > self.limits.hops {
            self.metrics.limit_reached("hops");
            return Err(Fault::new(
                Kind::InvalidRequest,
                "this request has passed through callway too often; two routes lead to each other",
            ));
        }
        let max = row.route.max_params.min(self.limits.params);
        if call.params.len() > max {
            self.metrics.limit_reached("params");
            return Err(Fault::new(
                Kind::TooLarge,
                format!(
                    "params have {} bytes, this method takes at most {max}",
                    call.params.len()
                ),
            ));
        }
        Ok(())
    }

    async fn enter_and_run(&self, call: &mut Call, row: &Row, want: Want) -> Outcome {
        let accepts = want.is_receipt(row);
        // A one-way call counts against the rate when it is accepted, and takes a place when it is
        // carried out.
        if want != Want::Work {
            let caller = &call.caller.token().name;
            row.admission
                .check_rate(caller)
                .map_err(|refused| self.limited(refused))?;
        }
        let place = match accepts {
            true => None,
            false => {
                let place = row.admission.take_place().await;
                place.map_err(|refused| self.limited(refused))?
            }
        };
        call.params
            .settle(self.limits.json_depth)
            .inspect_err(|defect| {
                if matches!(defect, Defect::Depth(_)) {
                    self.metrics.limit_reached("json_depth");
                }
            })?;
        let schema = row.route.schema.params.as_deref();
        work::check_schema(schema, &call.params, Kind::InvalidParams)?;
        let outcome = match accepts {
            true => Box::pin(self.oneway.accept(call)).await,
            false => work::carry_out(call, row).await,
        };
        drop(place);
        outcome
    }

    fn limited(&self, (limit, fault): (&'static str, Fault)) -> Fault {
        self.metrics.limit_reached(limit);
        fault
    }
}

fn forbidden(method: &str) -> Fault {
    Fault::new(
        Kind::Forbidden,
        format!("no grant of this token allows to call {method:?}; add it to the token's `call`"),
    )
}

fn cut_off() -> Fault {
    let message = "callway ended before there was a reply";
    Fault::new(Kind::ShuttingDown, message).with_retry_after(Duration::from_secs(1))
}

fn timed_out() -> Fault {
    Fault::new(
        Kind::Timeout,
        "the deadline passed before there was a reply",
    )
}

#[cfg(test)]
mod tests;

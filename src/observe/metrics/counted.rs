//! What the other parts of callway report.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Metrics;
use super::labels::*;
use crate::spool::QueueStats;

impl Metrics {
    /// A call reached its outcome.
    pub fn call_done(
        &self,
        via: &'static str,
        target: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        self.calls
            .get_or_create(&CallLabels {
                via,
                target,
                outcome,
            })
            .inc();
        self.duration
            .get_or_create(&TargetLabels { target })
            .observe(took.as_secs_f64());
    }

    /// Sets how many calls are under way; read from the dispatcher when metrics are rendered.
    pub fn set_in_flight(&self, count: usize) {
        self.in_flight.set(count as i64);
    }

    /// A client connected.
    pub fn connection_opened(&self, via: &'static str) {
        self.connections.get_or_create(&ViaLabels { via }).inc();
    }

    /// A client went away.
    pub fn connection_closed(&self, via: &'static str) {
        self.connections.get_or_create(&ViaLabels { via }).dec();
    }

    /// A limit of this name was reached and its policy applied.
    pub fn limit_reached(&self, limit: &'static str) {
        self.limits.get_or_create(&LimitLabels { limit }).inc();
    }

    /// A message was dropped: a late, foreign or double reply, a retained call, a forbidden reply
    /// address.
    pub fn dropped(&self, via: &'static str, reason: &'static str) {
        self.dropped
            .get_or_create(&ReasonLabels { via, reason })
            .inc();
    }

    /// Somebody published: `accepted`, or the kind of the refusal.
    pub fn event(&self, via: &'static str, outcome: &'static str) {
        self.events
            .get_or_create(&EventLabels { via, outcome })
            .inc();
    }

    /// So many clients' subscriptions more, or less.
    pub fn subscriptions(&self, change: i64) {
        self.subscriptions.inc_by(change);
    }

    /// A credential was refused.
    pub fn auth_refused(&self, via: &'static str) {
        self.auth_refused.get_or_create(&ViaLabels { via }).inc();
    }

    /// Whether the link to a bus is up.
    pub fn link_up(&self, bus: &str, up: bool) {
        self.link_up
            .get_or_create(&BusLabels {
                bus: bus.to_owned(),
            })
            .set(i64::from(up));
    }

    /// A script host was killed because a script would not stop.
    pub fn script_host_killed(&self) {
        self.scripts_killed.inc();
    }

    /// Whether a service runs.
    pub fn service_up(&self, service: &str, up: bool) {
        let service = service.to_owned();
        let labels = ServiceLabels { service };
        self.service_up.get_or_create(&labels).set(i64::from(up));
    }

    /// A service is started again.
    pub fn service_restarted(&self, service: &str, reason: &'static str) {
        let service = service.to_owned();
        let labels = ServiceEndLabels { service, reason };
        self.service_restarts.get_or_create(&labels).inc();
    }

    /// A service used a member that does nothing here. The names are bounded by who tells.
    pub fn service_ignored(&self, service: &str, member: &str, times: u64) {
        let (service, member) = (service.to_owned(), member.to_owned());
        let labels = MemberLabels { service, member };
        self.service_ignored.get_or_create(&labels).inc_by(times);
    }

    /// A damaged database was set aside.
    pub fn store_damaged(&self) {
        self.store_damaged.inc();
    }

    /// How many dead letters there are.
    pub fn set_dead_letters(&self, count: i64) {
        self.dead_letters.set(count);
    }

    /// Something became a dead letter because of a fault of this kind.
    pub fn dead_lettered(&self, reason: &'static str) {
        self.dead_lettered
            .get_or_create(&DeathLabels { reason })
            .inc();
    }

    /// Sets how much waits in a queue of the spool, and what became of the rest; read from it when
    /// metrics are rendered.
    pub fn set_spool(&self, stats: &QueueStats) {
        let queue = stats.queue.to_string();
        let labels = QueueLabels {
            queue: queue.clone(),
        };
        let messages = self.spool_messages.get_or_create(&labels);
        messages.set(stats.messages as i64);
        let bytes = self.spool_bytes.get_or_create(&labels);
        bytes.set(stats.bytes as i64);
        for (event, count) in stats.tally.named() {
            let queue = queue.clone();
            let labels = RecordLabels { queue, event };
            let counter = self.spool_records.get_or_create(&labels);
            counter.inner().store(count, Ordering::Relaxed);
        }
    }

    /// Stretches of the spool were damaged, or files of it were missing.
    pub fn spool_damaged(&self, stretches: u64) {
        self.spool_damaged.inc_by(stretches);
    }

    /// The disk failed to keep what was to be spooled.
    pub fn spool_failed(&self) {
        self.spool_failed.inc();
    }
}

//! Metrics in the OpenMetrics text format. Labels are bounded: never a token, a client id or a
//! method that no route names.

use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::spool::QueueStats;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    via: &'static str,
    target: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TargetLabels {
    target: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    via: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DeathLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    via: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ViaLabels {
    via: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BusLabels {
    bus: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RecordLabels {
    queue: String,
    event: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServiceEndLabels {
    service: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MemberLabels {
    service: String,
    member: String,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    duration: Family<TargetLabels, Histogram>,
    in_flight: Gauge,
    connections: Family<ViaLabels, Gauge>,
    limits: Family<LimitLabels, Counter>,
    dropped: Family<ReasonLabels, Counter>,
    events: Family<EventLabels, Counter>,
    subscriptions: Gauge,
    auth_refused: Family<ViaLabels, Counter>,
    link_up: Family<BusLabels, Gauge>,
    scripts_killed: Counter,
    service_up: Family<ServiceLabels, Gauge>,
    service_restarts: Family<ServiceEndLabels, Counter>,
    service_ignored: Family<MemberLabels, Counter>,
    store_damaged: Counter,
    dead_letters: Gauge,
    dead_lettered: Family<DeathLabels, Counter>,
    spool_messages: Family<QueueLabels, Gauge>,
    spool_bytes: Family<QueueLabels, Gauge>,
    spool_records: Family<RecordLabels, Counter>,
    spool_damaged: Counter,
    spool_failed: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("callway"),
            calls: Family::default(),
            duration: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_1, 2.5, 14))
            }),
            in_flight: Gauge::default(),
            connections: Family::default(),
            limits: Family::default(),
            dropped: Family::default(),
            events: Family::default(),
            subscriptions: Gauge::default(),
            auth_refused: Family::default(),
            link_up: Family::default(),
            scripts_killed: Counter::default(),
            service_up: Family::default(),
            service_restarts: Family::default(),
            service_ignored: Family::default(),
            store_damaged: Counter::default(),
            dead_letters: Gauge::default(),
            dead_lettered: Family::default(),
            spool_messages: Family::default(),
            spool_bytes: Family::default(),
            spool_records: Family::default(),
            spool_damaged: Counter::default(),
            spool_failed: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("calls", "Calls by outcome", metrics.calls.clone());
        registry.register(
            "calls_in_flight",
            "Calls under way",
            metrics.in_flight.clone(),
        );
        registry.register(
            "call_duration_seconds",
            "Time from call to outcome",
            metrics.duration.clone(),
        );
        registry.register(
            "connections",
            "Open client connections",
            metrics.connections.clone(),
        );
        registry.register(
            "limit_reached",
            "How often a limit was reached",
            metrics.limits.clone(),
        );
        registry.register(
            "dropped",
            "Messages that were dropped, and why",
            metrics.dropped.clone(),
        );
        registry.register(
            "events",
            "Published events by outcome",
            metrics.events.clone(),
        );
        registry.register(
            "subscriptions",
            "Subscriptions of clients to channels",
            metrics.subscriptions.clone(),
        );
        registry.register(
            "auth_refused",
            "Refused credentials",
            metrics.auth_refused.clone(),
        );
        registry.register(
            "link_up",
            "1 while the link to a bus is up",
            metrics.link_up.clone(),
        );
        registry.register(
            "script_hosts_killed",
            "Script hosts that had to be killed",
            metrics.scripts_killed.clone(),
        );
        registry.register(
            "service_up",
            "1 while a service runs",
            metrics.service_up.clone(),
        );
        registry.register(
            "service_restarts",
            "Services that were started again, and why they had ended",
            metrics.service_restarts.clone(),
        );
        registry.register(
            "service_members_ignored",
            "Uses of members that do nothing here",
            metrics.service_ignored.clone(),
        );
        registry.register(
            "store_damaged",
            "Databases that were set aside because they were damaged",
            metrics.store_damaged.clone(),
        );
        registry.register(
            "dead_letters",
            "Dead letters that are kept",
            metrics.dead_letters.clone(),
        );
        registry.register(
            "dead_lettered",
            "Calls, events and messages that became dead letters, and why",
            metrics.dead_lettered.clone(),
        );
        registry.register(
            "spool_messages",
            "Events and one-way calls that wait on disk",
            metrics.spool_messages.clone(),
        );
        registry.register(
            "spool_bytes",
            "What they take on disk",
            metrics.spool_bytes.clone(),
        );
        registry.register(
            "spool_records",
            "What became of what was to be kept on disk",
            metrics.spool_records.clone(),
        );
        registry.register(
            "spool_damaged",
            "Damaged stretches of the spool, and files of it that are missing",
            metrics.spool_damaged.clone(),
        );
        registry.register(
            "spool_failed",
            "Failures of the disk to keep what was to be spooled",
            metrics.spool_failed.clone(),
        );
        metrics
    }

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

    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }
}

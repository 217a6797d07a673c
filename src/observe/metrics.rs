//! Metrics in the OpenMetrics text format. Labels are bounded: never a token, a client id or a
//! method that no route names.

mod counted;
mod labels;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use self::labels::*;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
        let mut registry = Registry::with_prefix("callway");
        let r = &mut registry;
        Metrics {
            calls: metric(r, "calls", "Calls by outcome"),
            duration: register(
                r,
                "call_duration_seconds",
                "Time from call to outcome",
                Family::new_with_constructor(|| {
                    Histogram::new(exponential_buckets(0.000_1, 2.5, 14))
                }),
            ),
            in_flight: metric(r, "calls_in_flight", "Calls under way"),
            connections: metric(r, "connections", "Open client connections"),
            limits: metric(r, "limit_reached", "How often a limit was reached"),
            dropped: metric(r, "dropped", "Messages that were dropped, and why"),
            events: metric(r, "events", "Published events by outcome"),
            subscriptions: metric(r, "subscriptions", "Subscriptions of clients to channels"),
            auth_refused: metric(r, "auth_refused", "Refused credentials"),
            link_up: metric(r, "link_up", "1 while the link to a bus is up"),
            scripts_killed: metric(
                r,
                "script_hosts_killed",
                "Script hosts that had to be killed",
            ),
            service_up: metric(r, "service_up", "1 while a service runs"),
            service_restarts: metric(
                r,
                "service_restarts",
                "Services that were started again, and why they had ended",
            ),
            service_ignored: metric(
                r,
                "service_members_ignored",
                "Uses of members that do nothing here",
            ),
            store_damaged: metric(
                r,
                "store_damaged",
                "Databases that were set aside because they were damaged",
            ),
            dead_letters: metric(r, "dead_letters", "Dead letters that are kept"),
            dead_lettered: metric(
                r,
                "dead_lettered",
                "Calls, events and messages that became dead letters, and why",
            ),
            spool_messages: metric(
                r,
                "spool_messages",
                "Events and one-way calls that wait on disk",
            ),
            spool_bytes: metric(r, "spool_bytes", "What they take on disk"),
            spool_records: metric(
                r,
                "spool_records",
                "What became of what was to be kept on disk",
            ),
            spool_damaged: metric(
                r,
                "spool_damaged",
                "Damaged stretches of the spool, and files of it that are missing",
            ),
            spool_failed: metric(
                r,
                "spool_failed",
                "Failures of the disk to keep what was to be spooled",
            ),
            registry,
        }
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }
}

/// A metric at zero that the registry shows.
fn metric<M: Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    register(registry, name, help, M::default())
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

//! The interleaved part: in each round everything is measured once, in the same order.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::brokers::Peer;
use crate::daemon::Daemon;
use crate::load::{self, Load, Measured};
use crate::report::{Row, Sample, Target, median, short};
use crate::wire::Extras::{self, All, Few};
use crate::ws::Jsonrpc;
use crate::{Failure, amqp, mqtt, ws};

/// The method whose target is behind a default MQTT broker, with the route's default QoS.
pub const DEFAULT_MQTT: &str = "bench/default";

/// What the floors are, for the reader of the table.
pub const FLOORS: &str = "\
beside MQTT: MQTT 5 request/response by rumqttc, the library of callway's own link; every client
             has a connection of its own, and the responder is the one that callway asks
beside AMQP: direct reply-to by lapin, the library of callway's own link; every client has a
             connection of its own, and the responder is the one that callway asks
all the same beside it: there as well requests carry what callway's carry (call id, deadline, hops,
             method, expiry, content type), and over AMQP are mandatory and confirmed
beside scripts: a WebSocket echo by tokio-tungstenite, nothing else";

/// What is there to be measured.
pub struct Field {
    /// The bare echo.
    pub echo: Option<Peer>,
    /// The MQTT broker.
    pub mosquitto: Option<Peer>,
    /// An MQTT broker as it is installed, which holds small packets back (no TCP_NODELAY).
    pub default_mosquitto: Option<Peer>,
    /// The AMQP broker.
    pub rabbitmq: Option<Peer>,
    /// callway, connected to all of them.
    pub daemon: Daemon,
    /// Counted time of one measurement.
    pub time: Duration,
}

/// How a path is loaded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// One request at a time.
    One,
    /// 50 connections with 16 requests each.
    Many,
}

/// Whose work is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// The bare WebSocket echo.
    Echo,
    /// MQTT request/response without a bridge, at this QoS.
    MqttFloor(u8, Extras),
    /// AMQP direct reply-to without a bridge.
    AmqpFloor(Extras),
    /// callway to this method.
    Callway(&'static str),
}

/// The samples of all rounds.
pub type Rounds = BTreeMap<(Path, Shape), Vec<Sample>>;

impl Field {
    /// Measures everything once.
    pub async fn round(&self, rounds: &mut Rounds) -> Result<(), Failure> {
        for shape in [Shape::One, Shape::Many] {
            for path in self.paths(shape) {
                let sample = self.sample(path, shape).await?;
                rounds.entry((path, shape)).or_default().push(sample);
            }
        }
        Ok(())
    }

    fn paths(&self, shape: Shape) -> Vec<Path> {
        let mut paths = Vec::new();
        if self.echo.is_some() {
            paths.extend([
                Path::Echo,
                Path::Callway("bench/js"),
                Path::Callway("bench/lua"),
            ]);
        }
        if self.mosquitto.is_some() {
            for qos in [0, 1] {
                let method = mqtt::TOPICS[usize::from(qos)];
                let floor = |extras| Path::MqttFloor(qos, extras);
                paths.extend([floor(Few), Path::Callway(method), floor(All)]);
            }
        }
        if self.default_mosquitto.is_some() && shape == Shape::One {
            paths.push(Path::Callway(DEFAULT_MQTT));
        }
        if self.rabbitmq.is_some() {
            let floor = Path::AmqpFloor;
            paths.extend([floor(Few), Path::Callway("bench/amqp"), floor(All)]);
        }
        paths
    }

    async fn sample(&self, path: Path, shape: Shape) -> Result<Sample, Failure> {
        let (connections, in_flight) = match shape {
            Shape::One => (1, 1),
            Shape::Many => (50, 16),
        };
        let load = Load {
            connections,
            in_flight,
            time: self.time,
            warm_up: self.time / 5,
        };
        let before = self.cpu(path);
        let measured = self.run(path, load).await?;
        let after = self.cpu(path);
        let used = (after.0 - before.0, after.1 - before.1);
        Ok(Sample::new(&measured, load, used))
    }

    async fn run(&self, path: Path, load: Load) -> Result<Measured, Failure> {
        match path {
            Path::Echo => {
                let port = self.echo.as_ref().ok_or("no echo")?.port;
                let mut lanes = Vec::new();
                for _ in 0..load.connections {
                    let stream = ws::connect(port, "/", "").await?;
                    lanes.push((stream, Jsonrpc::new("bench/js", load.in_flight)));
                }
                load::run(lanes, load).await
            }
            Path::MqttFloor(qos, extras) => {
                let port = self.mosquitto.as_ref().ok_or("no MQTT broker")?.port;
                let mut clients = Vec::new();
                for number in 0..load.connections {
                    clients.push(mqtt::Floor::connect(port, number, qos, extras).await?);
                }
                mqtt::run(clients, load).await
            }
            Path::AmqpFloor(extras) => {
                let port = self.rabbitmq.as_ref().ok_or("no AMQP broker")?.port;
                let mut clients = Vec::new();
                for _ in 0..load.connections {
                    clients.push(amqp::Floor::connect(port, extras).await?);
                }
                amqp::run(clients, load).await
            }
            Path::Callway(method) => load::run(self.daemon.lanes(method, load).await?, load).await,
        }
    }

    /// CPU seconds of callway, and of the broker on this path, so far.
    fn cpu(&self, path: Path) -> (f64, f64) {
        let broker = match path {
            Path::MqttFloor(..) => &self.mosquitto,
            Path::Callway(method) if mqtt::TOPICS.contains(&method) => &self.mosquitto,
            Path::AmqpFloor(_) | Path::Callway("bench/amqp") => &self.rabbitmq,
            _ => &None,
        };
        let broker = broker.as_ref().map_or(0.0, |peer| peer.process.cpu());
        (self.daemon.process.cpu(), broker)
    }
}

/// The rows of what was measured.
pub fn rows(rounds: &Rounds) -> Vec<Row> {
    let paths = [
        (
            "ws > JavaScript > ws",
            Path::Callway("bench/js"),
            Path::Echo,
        ),
        ("ws > Lua > ws", Path::Callway("bench/lua"), Path::Echo),
        (
            "ws > MQTT QoS 0 > ws",
            Path::Callway(mqtt::TOPICS[0]),
            Path::MqttFloor(0, Few),
        ),
        (
            "ws > MQTT QoS 1 > ws",
            Path::Callway(mqtt::TOPICS[1]),
            Path::MqttFloor(1, Few),
        ),
        (
            "ws > AMQP > ws",
            Path::Callway("bench/amqp"),
            Path::AmqpFloor(Few),
        ),
    ];
    let mut rows = Vec::new();
    for (work, path, base) in paths {
        let samples = |path, shape| Some(rounds.get(&(path, shape))?.as_slice());
        let pair = |shape| Some((samples(path, shape)?, samples(base, shape)?));
        let beside = |what, pair, figure: fn(&Sample) -> f64, show: fn(f64) -> String, target| {
            Row::beside(&format!("{work}, {what}"), pair, figure, show, target)
        };
        let (Some(one), Some(many)) = (pair(Shape::One), pair(Shape::Many)) else {
            continue;
        };
        let (p50, rate, cpu) = match base {
            Path::Echo => (2.0, 0.085, None),
            Path::MqttFloor(..) => (1.45, 0.90, Some(1.0)),
            _ => (1.3, 1.2, Some(0.65)),
        };
        let us = |value: f64| format!("{} us", short(value));
        let per_second = |value: f64| format!("{value:.0} /s");
        rows.push(beside("p50", one, |s| s.p50, us, Target::AtMost(p50)));
        let p99 = match base {
            Path::Echo => Target::Shown,
            _ => Target::AtMost(1.5),
        };
        rows.push(beside("p99", one, |s| s.p99, us, p99));
        let at_least = Target::AtLeast(rate);
        rows.push(beside("50 x 16", many, |s| s.rate, per_second, at_least));
        rows.push(cpu_row(work, many.0, cpu));
        let same = match base {
            Path::MqttFloor(qos, _) => Path::MqttFloor(qos, All),
            Path::AmqpFloor(_) => Path::AmqpFloor(All),
            _ => continue,
        };
        let pair = |shape| Some((samples(path, shape)?, samples(same, shape)?));
        if let (Some(one), Some(many)) = (pair(Shape::One), pair(Shape::Many)) {
            let (p50, rate) = (
                "p50, all the same beside it",
                "50 x 16, all the same beside it",
            );
            rows.push(beside(p50, one, |s| s.p50, us, Target::Shown));
            rows.push(beside(rate, many, |s| s.rate, per_second, Target::Shown));
        }
    }
    if let Some(samples) = rounds.get(&(Path::Callway(DEFAULT_MQTT), Shape::One)) {
        let values: Vec<f64> = samples.iter().map(|s| s.p50 / 1000.0).collect();
        rows.push(Row {
            work: "ws > MQTT > ws, p50 with a default mosquitto".into(),
            base: String::new(),
            callway: format!("{} ms", short(median(&values))),
            values,
            target: Target::AtMost(5.0),
        });
    }
    rows
}

/// CPU seconds per 10,000 calls: against the broker's own where there is a broker.
fn cpu_row(work: &str, samples: &[Sample], bound: Option<f64>) -> Row {
    let show = |figure: fn(&Sample) -> f64| {
        let figures: Vec<f64> = samples.iter().map(figure).collect();
        format!("{} s/10k", short(median(&figures)))
    };
    Row {
        work: format!("{work}, CPU at 50 x 16"),
        base: bound.map_or(String::new(), |_| show(|s| s.broker_cpu)),
        callway: show(|s| s.cpu),
        values: match bound {
            Some(_) => samples.iter().map(|s| s.cpu / s.broker_cpu).collect(),
            None => samples.iter().map(|s| s.cpu).collect(),
        },
        target: bound.map_or(Target::Shown, Target::AtMost),
    }
}

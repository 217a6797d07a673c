//! Two brokers, callway between them behind proxies, publishers, receivers, and the ledger.

use std::time::{Duration, Instant};

use super::books;
use super::id::{FLOWS, Flow, Id};
use super::ledger::Ledger;
use super::publish::{Doors, Load};
use super::receive::{self, Receiver};
use super::report;
use super::storage::Disk;
use crate::support::{Daemon, Mosquitto, Observer, Proxy, Rabbit, Seen, Setup};

/// After a fault every flow goes on within this time.
const RECOVERY: Duration = Duration::from_secs(60);
/// After the last fault all that was acknowledged arrives within this time.
const ARRIVAL: Duration = Duration::from_secs(90);

/// What a scenario needs.
#[derive(Default)]
pub struct Plan {
    /// What the table calls it.
    pub name: &'static str,
    /// Mosquitto will be killed, and forget what it acknowledged: then callway answers for what
    /// its own acknowledgements promised, and a message has arrived when the broker confirmed it.
    pub forgetful: bool,
    /// Mosquitto writes down what it has.
    pub persistent: bool,
    /// callway speaks MQTT 3.1.1.
    pub old_mqtt: bool,
    /// RabbitMQ will be killed or paused.
    pub own_rabbit: bool,
    /// callway keeps what must survive there.
    pub disk: Option<Disk>,
}

/// Everything of one scenario.
pub struct World {
    pub mosquitto: Mosquitto,
    pub rabbit: Rabbit,
    pub daemon: Daemon,
    /// Between callway and mosquitto.
    pub to_mosquitto: Proxy,
    /// Between callway and RabbitMQ.
    pub to_rabbit: Proxy,
    /// Between the clients and callway.
    pub to_callway: Proxy,
    pub ledger: Ledger,
    pub disk: Option<Disk>,
    load: Load,
    _subscriber: Option<Receiver>,
    name: &'static str,
    /// Faults so far.
    pub strikes: usize,
    start: Instant,
}

impl World {
    /// Starts everything, and waits until messages flow on every way.
    pub async fn start(plan: Plan) -> World {
        let ledger = Ledger::default();
        let (mosquitto, rabbit) = tokio::join!(mosquitto(&plan), rabbit(&plan));
        let to_mosquitto = match plan.forgetful {
            true => Proxy::observed(mosquitto.port, referee(&ledger)).await,
            false => Proxy::start(mosquitto.port).await,
        };
        let to_rabbit = Proxy::start(rabbit.port).await;
        receive::make_sink(&rabbit.url()).await;
        let subscriber = match plan.forgetful {
            true => None,
            false => Some(receive::subscribe(mosquitto.port, &ledger).await),
        };
        let amqp = rabbit.url_through(to_rabbit.port);
        let daemon = setup(&plan, to_mosquitto.port, &amqp).start().await;
        daemon.link_is("field", "up").await;
        daemon.link_is("office", "up").await;
        if plan.own_rabbit {
            // RabbitMQ forgets a quorum queue that it is killed within moments of making.
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let to_callway = Proxy::start(daemon.address.port()).await;
        let doors = Doors {
            mqtt: mosquitto.port,
            amqp: rabbit.url(),
            callway: to_callway.port,
            trust_mqtt: !plan.forgetful,
        };
        let world = World {
            load: Load::start(&doors, &ledger),
            mosquitto,
            rabbit,
            daemon,
            to_mosquitto,
            to_rabbit,
            to_callway,
            ledger,
            disk: plan.disk,
            _subscriber: subscriber,
            name: plan.name,
            strikes: 0,
            start: Instant::now(),
        };
        world.accepts(&FLOWS, 10).await;
        world
    }

    /// Waits until so many further messages of each flow are acknowledged.
    pub async fn accepts(&self, flows: &[Flow], count: usize) {
        let before: Vec<_> = flows
            .iter()
            .map(|flow| self.ledger.acknowledged(*flow))
            .collect();
        let done = |at: usize| self.ledger.acknowledged(flows[at]) >= before[at] + count;
        let end = Instant::now() + RECOVERY;
        while let Some(late) = (0..flows.len()).find(|at| !done(*at)) {
            if Instant::now() > end {
                let flow = flows[late];
                self.fail(&format!(
                    "{flow} stands still after {} faults",
                    self.strikes
                ))
                .await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the load, waits for what is still on its way, and closes the ledger.
    pub async fn settle(mut self) {
        let load = std::mem::take(&mut self.load);
        let stuck = load.stop().await;
        if !stuck.is_empty() {
            self.fail(&format!("never acknowledged: {stuck:?}")).await;
        }
        let _sink = receive::drain_sink(&self.rabbit.url(), &self.ledger);
        let end = Instant::now() + ARRIVAL;
        while !self.ledger.owed().is_empty() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let sums = self.ledger.sums();
        for (flow, sum) in &sums {
            report::line(self.name, flow, sum, self.start);
        }
        let owed = self.ledger.owed();
        if !owed.is_empty() {
            let some: Vec<Id> = owed.iter().copied().take(20).collect();
            self.fail(&format!("{} lost: {some:?}", owed.len())).await;
        }
        books::are_balanced(&self.daemon).await;
        for (flow, sum) in sums {
            let bound = flow.window() * self.strikes;
            assert_eq!(sum.inversions, 0, "{flow}: out of order");
            assert!(
                sum.unasked <= bound,
                "{flow}: {} duplicates, {bound} allowed",
                sum.unasked
            );
        }
        assert_eq!(self.ledger.strange(), [""; 0], "nobody published these");
    }

    /// Ends the test with all that may explain it.
    pub async fn fail(&self, what: &str) -> ! {
        let log = self.daemon.log();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        panic!(
            "{}: {what}\n{:#?}\nrefusals: {:?}\nlast lines of callway's log:\n{last}",
            self.name,
            self.ledger.sums(),
            self.ledger.refusals(),
        );
    }
}

async fn mosquitto(plan: &Plan) -> Mosquitto {
    let lines: &[&str] = match plan.persistent {
        true => &[
            "persistence true",
            "autosave_on_changes true",
            "autosave_interval 20",
        ],
        false => &[],
    };
    Mosquitto::start_with(lines).await
}

async fn rabbit(plan: &Plan) -> Rabbit {
    match plan.own_rabbit {
        true => Rabbit::own().await,
        false => Rabbit::shared().await,
    }
}

/// Writes into the ledger what the connection to mosquitto shows.
fn referee(ledger: &Ledger) -> Observer {
    let ledger = ledger.clone();
    Observer::new(move |seen, payload| match (seen, Id::of(payload)) {
        (Seen::Offered, Some(id)) => ledger.offer(id),
        (Seen::Taken, Some(id)) => ledger.acknowledge(id),
        (Seen::Offered | Seen::Taken, None) => panic!("a strange message on the way in"),
        (Seen::Confirmed, _) => ledger.deliver(payload),
    })
}

/// One channel for each flow.
fn setup(plan: &Plan, mqtt: u16, amqp: &str) -> Setup {
    let protocol = if plan.old_mqtt { 4 } else { 5 };
    let mut setup = Setup::new().config(&format!(
        r#"
        [bus.field]
        url = "mqtt://127.0.0.1:{mqtt}"
        protocol = {protocol}
        calls = ""
        [bus.office]
        url = "{amqp}"
        calls = ""
        [[channel]]
        name = "a/{{key}}"
        mqtt = {{ bus = "field", topic = "in/a/{{key}}", qos = 1, direction = "in" }}
        amqp = {{ bus = "office", exchange = "out", routing_key = "a.{{key}}", direction = "out", declare = "topic" }}
        [[channel]]
        name = "b/{{key}}"
        amqp = {{ bus = "office", exchange = "in", routing_key = "b.{{key}}", direction = "in", declare = "topic" }}
        mqtt = {{ bus = "field", topic = "out/b/{{key}}", qos = 1, direction = "out" }}
        [[channel]]
        name = "c/{{key}}"
        mqtt = {{ bus = "field", topic = "out/c/{{key}}", qos = 1, direction = "out" }}
        [[channel]]
        name = "d/{{key}}"
        amqp = {{ bus = "office", exchange = "out", routing_key = "d.{{key}}", direction = "out", declare = "topic" }}
        [[channel]]
        name = "e/{{key}}"
        mqtt = {{ bus = "field", topic = "out/e/{{key}}", qos = 1, direction = "out" }}
        history = {{ count = 100 }}
        "#,
    ));
    if let Some(disk) = &plan.disk {
        let url = format!("sqlite:{}/callway.db", disk.path().display());
        setup = setup.env("CALLWAY__STORE__URL", &url);
    }
    setup
}

//! callway's MQTT link alone, with a test in the place of what takes its deliveries.

use std::sync::Arc;
use std::time::Duration;

use callway::config::{Bus, Config, MqttBus, parse};
use callway::context::Context;
use callway::link::mqtt::{Deliveries, Delivery, MqttLink, Receipt, Setup};
use callway::observe::LinkState;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::{PATIENCE, Version};

/// What outlives a link: its configuration's place and its store.
pub struct Home(TempDir);

/// A link and what it takes in.
pub struct Inside {
    pub context: Context,
    pub link: MqttLink,
    taken: mpsc::Receiver<Taken>,
}

/// One delivery.
pub struct Taken {
    pub text: String,
    pub retained: bool,
    pub receipt: Receipt,
}

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    /// The configuration of a bus `field` that takes calls below `call`, and of these channels:
    /// patterns, each with the topic of the same name.
    pub fn config(&self, url: &str, version: Version, channels: &[&str]) -> Config {
        let protocol = match version {
            Version::V5 => 5,
            Version::V4 => 4,
        };
        let rows = channels.iter().map(|name| {
            format!(
                r#"
                [[channel]]
                name = "{name}"
                mqtt = {{ bus = "field", topic = "{name}", qos = 2, direction = "in" }}
                "#
            )
        });
        let text = format!(
            r#"
            [cluster]
            instance = "gw-1"
            [store]
            url = "sqlite:callway.db"
            [bus.field]
            url = "{url}"
            protocol = {protocol}
            calls = "call"
            {}
            "#,
            rows.collect::<String>()
        );
        let parsed = parse(&text, self.0.path());
        parsed.unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Starts a link that takes calls and events.
    pub fn start(&self, url: &str, version: Version, channels: &[&str]) -> Inside {
        self.start_with(self.config(url, version, channels), true)
    }

    /// Starts a link that takes both or nothing.
    pub fn start_with(&self, config: Config, takes: bool) -> Inside {
        let context = Context::new(config).unwrap();
        let bus = bus_of(&context.config);
        let (sender, taken) = mpsc::channel(10_000);
        let taker = || takes.then(|| Arc::new(Taker(sender.clone())) as Arc<dyn Deliveries>);
        let setup = Setup::of(&context, &bus, taker(), taker(), None);
        let (link, start) = MqttLink::prepare(setup);
        start.start();
        Inside {
            context,
            link,
            taken,
        }
    }
}

/// The one bus of a configuration.
pub fn bus_of(config: &Config) -> Arc<MqttBus> {
    match &config.buses[0] {
        Bus::Mqtt(bus) => bus.clone(),
        Bus::Amqp(_) => panic!("not a bus of MQTT"),
    }
}

struct Taker(mpsc::Sender<Taken>);

impl Deliveries for Taker {
    fn deliver(&self, _link: &MqttLink, delivery: Delivery, receipt: Receipt) {
        let taken = Taken {
            text: String::from_utf8(delivery.payload.to_vec()).unwrap(),
            retained: delivery.retained,
            receipt,
        };
        // Nobody there: the test is over.
        self.0.try_send(taken).ok();
    }
}

impl Inside {
    /// Waits until both connections are up.
    pub async fn up(&self) {
        crate::eventually!(self.context.links.all()["field"] == LinkState::Up);
    }

    /// The next delivery; fails the test if none comes.
    pub async fn next(&mut self) -> Taken {
        let next = tokio::time::timeout(PATIENCE, self.taken.recv()).await;
        next.expect("nothing came").expect("the link has ended")
    }

    /// Takes so many.
    pub async fn take(&mut self, count: usize) -> Vec<Taken> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.next().await);
        }
        all
    }

    /// Fails the test if anything comes within a while.
    pub async fn nothing_more(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(500), self.taken.recv()).await;
        if let Ok(Some(taken)) = next {
            panic!("{:?} came", taken.text);
        }
    }

    /// How often messages were dropped for a reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.metric(&format!(
            "callway_dropped_total{{via=\"mqtt\",reason=\"{reason}\"}}"
        ))
    }

    /// The value of one line of the metrics, 0 without it.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.context.metrics.render();
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |count| count.trim().parse().unwrap())
    }

    /// Ends as the daemon does.
    pub async fn end(self) {
        self.context.drain.cancel();
        self.context.stop.cancel();
        self.context.background.close();
        let ended = tokio::time::timeout(PATIENCE, self.context.background.wait());
        ended.await.expect("the link does not end");
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.context.stop.cancel();
    }
}

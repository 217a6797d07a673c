//! The events, and the calls that are kept on disk: in each round everything is measured once, in
//! the same order.

mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

pub use self::rows::rows;
use crate::brokers::{self, Peer};
use crate::daemon::{Daemon, Setup};
use crate::device::Device;
use crate::fanin::{self, Account, Source};
use crate::load::{self, Load, Measured};
use crate::queue::{self, Arrivals, Confirmed};
use crate::report::Sample;
use crate::subscriber::Subscriber;
use crate::{Failure, fanout, oneway};

/// What the floors are, for the reader of the table.
pub const FLOORS: &str = "\
beside MQTT > AMQP: the same messages, header fields included, published to RabbitMQ by lapin,
             persistent, confirmed, with the window of callway's own link; the same consumer behind
             the exchange counts both
beside MQTT > ws: mosquitto's own WebSocket listener; the same counting clients, which speak MQTT
beside one-way calls: one fdatasync after 4 KiB were appended to a file beside callway's spool";

/// Readers of the fan-out.
const MANY: usize = 1000;
/// One run's messages have numbers of their own: no run has so many.
const NUMBERS: usize = 100_000_000;
/// What callway accepted and did not carry out after so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is there to be measured.
pub struct Events {
    mosquitto: Peer,
    /// Where mosquitto speaks WebSocket.
    websocket: u16,
    rabbitmq: Peer,
    daemon: Daemon,
    time: Duration,
}

/// Whose work is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Floor,
    Callway,
}

use Side::{Callway, Floor};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// MQTT QoS 1 to AMQP.
    FanIn(Side),
    /// MQTT to so many WebSocket clients.
    FanOut(Side, usize),
    /// The acknowledgement of a one-way call, one in flight.
    Accept(Side),
    /// One-way calls, 50 x 16.
    AcceptMany,
}

const ORDER: [Work; 9] = [
    Work::FanIn(Floor),
    Work::FanIn(Callway),
    Work::FanOut(Floor, MANY),
    Work::FanOut(Callway, MANY),
    Work::FanOut(Floor, 1),
    Work::FanOut(Callway, 1),
    Work::Accept(Floor),
    Work::Accept(Callway),
    Work::AcceptMany,
];

/// The samples of all rounds.
#[derive(Default)]
pub struct Rounds {
    samples: BTreeMap<Work, Vec<Sample>>,
    /// Of callway's fan-in.
    accounts: Vec<Account>,
    runs: usize,
}

impl Events {
    /// Starts brokers and callway, and waits until an event comes through.
    pub async fn start(directory: &Path, time: Duration) -> Result<Events, Failure> {
        fs::create_dir_all(directory)?;
        let websocket = brokers::free_port().await?;
        let settings = format!(
            "{}listener {websocket} 127.0.0.1\nprotocol websockets\n",
            brokers::RECOMMENDED
        );
        let mosquitto = brokers::mosquitto(directory, "mosquitto", &settings).await?;
        let rabbitmq = brokers::rabbitmq(directory).await?;
        queue::declare(rabbitmq.port).await?;
        let setup = Setup {
            mqtt: Some(mosquitto.port),
            amqp: Some(rabbitmq.port),
            more_rows: rows_of_config(),
            ..Setup::default()
        };
        let daemon = Daemon::start(directory.join("callway"), &setup).await?;
        let events = Events {
            mosquitto,
            websocket,
            rabbitmq,
            daemon,
            time,
        };
        events.first().await?;
        Ok(events)
    }

    /// Waits until an event comes through, and until no more do.
    async fn first(&self) -> Result<(), Failure> {
        let mut device = Device::connect(self.mosquitto.port).await?;
        let mut arrivals = Arrivals::consume(self.rabbitmq.port).await?;
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            device.publish(&format!("{}0", fanin::TOPIC), b"first", 1);
            device.flush().await?;
            if arrivals.came(Duration::from_millis(200)).await? {
                break;
            }
            if Instant::now() > end {
                return Err("no event comes through callway".into());
            }
        }
        while arrivals.came(Duration::from_millis(500)).await? {}
        Ok(())
    }

    /// Measures everything once.
    pub async fn round(&self, rounds: &mut Rounds) -> Result<(), Failure> {
        for work in ORDER {
            let sample = self.sample(work, rounds).await?;
            rounds.samples.entry(work).or_default().push(sample);
        }
        Ok(())
    }

    async fn sample(&self, work: Work, rounds: &mut Rounds) -> Result<Sample, Failure> {
        let (connections, in_flight) = match work {
            Work::AcceptMany => (50, 16),
            _ => (1, 1),
        };
        let load = Load {
            connections,
            in_flight,
            time: self.time,
            warm_up: self.time / 5,
        };
        let before = self.cpu(work);
        let measured = match work {
            Work::FanIn(side) => self.fan_in(side, load, rounds).await?,
            Work::FanOut(side, readers) => {
                let device = Device::connect(self.mosquitto.port).await?;
                fanout::run(device, self.subscribe(side, readers).await?, load).await?
            }
            Work::Accept(Floor) => oneway::syncs(&self.daemon.state, load)?,
            Work::Accept(Callway) | Work::AcceptMany => {
                load::run(self.daemon.lanes(oneway::METHOD, load).await?, load).await?
            }
        };
        // What was accepted is carried out in the time of this work, not of the next.
        self.carried_out().await?;
        let after = self.cpu(work);
        let used = (after.0 - before.0, after.1 - before.1);
        Ok(Sample::new(&measured, load, used))
    }

    async fn fan_in(
        &self,
        side: Side,
        load: Load,
        rounds: &mut Rounds,
    ) -> Result<Measured, Failure> {
        let arrivals = Arrivals::consume(self.rabbitmq.port).await?;
        let source = match side {
            Floor => Source::Floor(Box::new(Confirmed::connect(self.rabbitmq.port).await?)),
            Callway => Source::Device(Device::connect(self.mosquitto.port).await?),
        };
        rounds.runs += 1;
        let (measured, account) = fanin::run(source, arrivals, load, rounds.runs * NUMBERS).await?;
        if side == Callway {
            rounds.accounts.push(account);
        }
        Ok(measured)
    }

    async fn subscribe(&self, side: Side, readers: usize) -> Result<Vec<Subscriber>, Failure> {
        let one = async |number| match side {
            Floor => Subscriber::of_topic(self.websocket, number, fanout::TOPIC).await,
            Callway => Subscriber::of_channel(&self.daemon, fanout::TOPIC).await,
        };
        // Many at once: mosquitto looks at its WebSocket clients only now and then while idle.
        let subscribers = stream::iter(0..readers).map(one).buffer_unordered(100);
        subscribers.try_collect().await
    }

    async fn carried_out(&self) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            let waiting = self.daemon.metric("callway_spool_messages").await?;
            if waiting == 0.0 {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{waiting} messages are stuck in the spool").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// CPU seconds of callway, and of the broker that this work is compared with, so far.
    fn cpu(&self, work: Work) -> (f64, f64) {
        let broker = match work {
            Work::FanIn(_) => &self.rabbitmq,
            _ => &self.mosquitto,
        };
        (self.daemon.process.cpu(), broker.process.cpu())
    }
}

fn rows_of_config() -> String {
    format!(
        "[[route]]\nmethod = \"{}\"\nscript = \"echo.lua\"\none_way = true\n\
         [[channel]]\nname = \"{topic}{{device}}\"\n\
         mqtt = {{ bus = \"field\", topic = \"{topic}{{device}}\", qos = 1, direction = \"in\" }}\n\
         amqp = {{ bus = \"office\", exchange = \"{}\", routing_key = \"device.{{device}}\", \
         direction = \"out\" }}\n\
         [[channel]]\nname = \"{news}\"\n\
         mqtt = {{ bus = \"field\", topic = \"{news}\", qos = 0, direction = \"in\" }}\n",
        oneway::METHOD,
        queue::EXCHANGE,
        topic = fanin::TOPIC,
        news = fanout::TOPIC,
    )
}

//! Devices that connect straight to callway with MQTT, beside the same devices at mosquitto.

mod client;
mod idle;
mod method;
mod pair;
mod rows;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use self::client::Place;
pub use self::idle::idle;
use self::method::Question;
pub use self::rows::rows;
use crate::Failure;
use crate::brokers::{self, Peer};
use crate::daemon::{Daemon, Setup};
use crate::load::{self, Load, Measured};
use crate::report::Sample;

/// What the floors are, for the reader of the table.
pub const FLOORS: &str = "\
beside devices: mosquitto with the same devices, which keeps its sessions in memory alone; a message
             is done when it was delivered and both of its ways are acknowledged
beside MQTT > JavaScript: the same calls of the same script over WebSocket, in the same callway";

/// What is there to be measured.
pub struct Fleet {
    mosquitto: Peer,
    daemon: Daemon,
    listener: u16,
    time: Duration,
}

/// Whose work is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Floor,
    Callway,
}

use Side::{Callway, Floor};

/// How a path is loaded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// One message at a time.
    One,
    /// 50 of each with 16 messages each.
    Many,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// QoS 1 from device to device; with sessions that end with their connection, or that do not.
    Pair(Side, bool),
    /// A call of a script, by a device or over WebSocket.
    Call(Side),
}

const ORDER: [Work; 6] = [
    Work::Pair(Floor, true),
    Work::Pair(Callway, true),
    Work::Pair(Floor, false),
    Work::Pair(Callway, false),
    Work::Call(Floor),
    Work::Call(Callway),
];

/// The samples of all rounds.
#[derive(Default)]
pub struct Rounds(BTreeMap<(Work, Shape), Vec<Sample>>);

impl Fleet {
    /// Starts mosquitto and callway.
    pub async fn start(directory: &Path, time: Duration) -> Result<Fleet, Failure> {
        fs::create_dir_all(directory)?;
        let mosquitto = brokers::mosquitto(directory, "busy", brokers::RECOMMENDED).await?;
        let (daemon, listener) = start(directory.join("busy")).await?;
        Ok(Fleet {
            mosquitto,
            daemon,
            listener,
            time,
        })
    }

    /// Measures everything once.
    pub async fn round(&self, rounds: &mut Rounds) -> Result<(), Failure> {
        for shape in [Shape::One, Shape::Many] {
            for work in ORDER {
                let sample = self.sample(work, shape).await?;
                rounds.0.entry((work, shape)).or_default().push(sample);
            }
        }
        Ok(())
    }

    async fn sample(&self, work: Work, shape: Shape) -> Result<Sample, Failure> {
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
        let cpu = || (self.daemon.process.cpu(), self.mosquitto.process.cpu());
        let before = cpu();
        let measured = self.run(work, load).await?;
        let after = cpu();
        let used = (after.0 - before.0, after.1 - before.1);
        Ok(Sample::new(&measured, load, used))
    }

    async fn run(&self, work: Work, load: Load) -> Result<Measured, Failure> {
        let callway = Place {
            port: self.listener,
            token: Some(self.daemon.token()),
        };
        match work {
            Work::Pair(side, clean) => {
                let place = match side {
                    Floor => Place {
                        port: self.mosquitto.port,
                        token: None,
                    },
                    Callway => callway,
                };
                pair::run(place, clean, load).await
            }
            Work::Call(Floor) => {
                load::run(self.daemon.lanes(method::METHOD, load).await?, load).await
            }
            Work::Call(Callway) => {
                let mut lanes = Vec::new();
                for number in 0..load.connections {
                    lanes.push(Question::connect(callway, number, load.in_flight).await?);
                }
                load::run(lanes, load).await
            }
        }
    }
}

/// Starts a callway that devices may connect to; returns where.
async fn start(directory: std::path::PathBuf) -> Result<(Daemon, u16), Failure> {
    let port = brokers::free_port().await?;
    let more_rows = format!(
        "[[listen]]\naddress = \"127.0.0.1:{port}\"\n[[listen.endpoint]]\ndialect = \"mqtt\"\n\
         [[channel]]\nname = \"devices/{{path...}}\"\n[limits]\nconnections = 12000\n"
    );
    let setup = Setup {
        more_rows,
        ..Setup::default()
    };
    Ok((Daemon::start(directory, &setup).await?, port))
}

//! Measures callway beside the same work without it, interleaved, and prints the table.
//!
//! `bench/run [--quick] [--rounds N] [--only script|mqtt|amqp|events|devices|lookup|idle|memory|start]...`

mod amqp;
mod brokers;
mod calibration;
mod calls;
mod daemon;
mod device;
mod events;
mod fanin;
mod fanout;
mod fleet;
mod load;
mod mqtt;
mod oneway;
mod packets;
mod process;
mod queue;
mod report;
mod size;
mod subscriber;
mod wire;
mod ws;

use std::process::ExitCode;

use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

use crate::calibration::Calibration;
use crate::calls::{Field, Rounds};
use crate::daemon::{Daemon, Setup};
use crate::events::Events;
use crate::fleet::Fleet;

/// Why a measurement could not be made.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

const PARTS: [&str; 9] = [
    "script", "mqtt", "amqp", "events", "devices", "lookup", "idle", "memory", "start",
];
const USAGE: &str = "usage: bench/run [--quick] [--rounds N] \
    [--only script|mqtt|amqp|events|devices|lookup|idle|memory|start]...";

struct Options {
    time: Duration,
    rounds: usize,
    only: Vec<String>,
}

impl Options {
    fn read(arguments: &[String]) -> Option<Options> {
        let mut options = Options {
            time: Duration::from_secs(2),
            rounds: 3,
            only: Vec::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.time = Duration::from_millis(400),
                "--rounds" => {
                    options.rounds = arguments.next()?.parse().ok().filter(|n| *n > 0)?;
                }
                "--only" => {
                    let part = arguments
                        .next()
                        .filter(|name| PARTS.contains(&name.as_str()))?;
                    options.only.push(part.clone());
                }
                _ => return None,
            }
        }
        Some(options)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["echo", port] => role(port, Role::Echo),
        ["respond-mqtt", port] => role(port, Role::Mqtt),
        ["respond-amqp", port] => role(port, Role::Amqp),
        _ => {
            let Some(options) = Options::read(&arguments) else {
                eprintln!("{USAGE}");
                return ExitCode::from(64);
            };
            measure_all(options)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::from(70)
        }
    }
}

enum Role {
    Echo,
    Mqtt,
    Amqp,
}

/// This program as one of its own children.
fn role(port: &str, role: Role) -> Result<bool, Failure> {
    let port = port.parse()?;
    let mut builder = match role {
        Role::Echo => tokio::runtime::Builder::new_multi_thread(),
        Role::Mqtt | Role::Amqp => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build()?.block_on(async {
        match role {
            Role::Echo => {
                println!("ready");
                ws::echo(port).await
            }
            Role::Mqtt => mqtt::respond(port).await,
            Role::Amqp => amqp::respond(port).await,
        }
    })?;
    Ok(true)
}

/// The load generator is one thread: it shares the machine with what it measures.
fn measure_all(options: Options) -> Result<bool, Failure> {
    process::raise_file_limit();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            // Dropped, what is under way takes the brokers with it.
            tokio::select! {
                measured = measure(options) => measured,
                signal = asked_to_end() => Err(signal?.into()),
            }
        })
}

/// Waits for a signal; says which came.
async fn asked_to_end() -> Result<&'static str, Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "terminated",
    })
}

async fn measure(options: Options) -> Result<bool, Failure> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let mut calibration = Calibration::default();
    calibration.read().await;
    let mut rows = Vec::new();
    if ["script", "mqtt", "amqp"]
        .iter()
        .any(|part| options.wants(part))
    {
        let field = start_field(&options, path).await?;
        let mut rounds = Rounds::new();
        for round in 1..=options.rounds {
            eprintln!("round {round} of {}", options.rounds);
            calibration.read().await;
            field.round(&mut rounds).await?;
        }
        rows = calls::rows(&rounds);
    }
    if options.wants("events") {
        eprintln!("starting brokers and callway for events");
        let events = Events::start(&path.join("events"), options.time).await?;
        let mut rounds = events::Rounds::default();
        for round in 1..=options.rounds {
            eprintln!("round {round} of {}", options.rounds);
            calibration.read().await;
            events.round(&mut rounds).await?;
        }
        rows.extend(events::rows(&rounds, &calibration));
    }
    if options.wants("devices") {
        eprintln!("starting mosquitto and callway for devices");
        let fleet = Fleet::start(&path.join("devices"), options.time).await?;
        let mut rounds = fleet::Rounds::default();
        for round in 1..=options.rounds {
            eprintln!("round {round} of {}", options.rounds);
            calibration.read().await;
            fleet.round(&mut rounds).await?;
        }
        rows.extend(fleet::rows(&rounds));
        drop(fleet);
        eprintln!("idle devices");
        rows.extend(fleet::idle(&path.join("devices")).await?);
    }
    if options.wants("lookup") {
        eprintln!("look-up");
        rows.extend(size::lookup(path, options.rounds, options.time).await?);
    }
    if options.wants("idle") {
        eprintln!("idle connections");
        rows.push(size::idle(path).await?);
    }
    if options.wants("memory") {
        eprintln!("memory");
        rows.push(size::memory(path).await?);
    }
    if options.wants("start") {
        eprintln!("start");
        rows.push(size::start(path, options.rounds).await?);
    }
    calibration.read().await;
    let reached = report::print(&rows);
    println!("\n{}\n{}\n{}", calls::FLOORS, events::FLOORS, fleet::FLOORS);
    Ok(calibration.verdict() && reached)
}

async fn start_field(options: &Options, path: &std::path::Path) -> Result<Field, Failure> {
    eprintln!("starting brokers, responders, the bare echo and callway");
    let echo = match options.wants("script") {
        true => Some(brokers::echo().await?),
        false => None,
    };
    let mosquitto = match options.wants("mqtt") {
        true => Some(brokers::mosquitto(path, "mosquitto", brokers::RECOMMENDED).await?),
        false => None,
    };
    let default_mosquitto = match options.wants("mqtt") {
        true => Some(brokers::mosquitto(path, "default", "").await?),
        false => None,
    };
    let rabbitmq = match options.wants("amqp") {
        true => Some(brokers::rabbitmq(path).await?),
        false => None,
    };
    let setup = Setup {
        mqtt: mosquitto.as_ref().map(|peer| peer.port),
        default_mqtt: default_mosquitto.as_ref().map(|peer| peer.port),
        amqp: rabbitmq.as_ref().map(|peer| peer.port),
        ..Setup::default()
    };
    let daemon = Daemon::start(path.join("callway"), &setup).await?;
    Ok(Field {
        echo,
        mosquitto,
        default_mosquitto,
        rabbitmq,
        daemon,
        time: options.time,
    })
}

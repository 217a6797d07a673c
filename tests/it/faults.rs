//! Nothing that was acknowledged is lost, whatever breaks.
//!
//! Five flows of messages go through callway while brokers, connections, the disk and callway
//! itself fail. A ledger of every attempt, acknowledgement and delivery is closed after each
//! scenario. `tests/faults` is the long run.

mod books;
mod fault;
mod id;
mod keys;
mod ledger;
mod line;
mod publish;
mod readers;
mod receive;
mod report;
mod storage;
mod world;

use std::time::Duration;

use self::fault::{Fault, Way};
use self::report::either;
use self::storage::Disk;
use self::world::{Plan, World};

/// A scenario whose faults need nobody's permission.
async fn run(plan: Plan, faults: impl IntoIterator<Item = Fault>) {
    let mut world = World::start(plan).await;
    for fault in faults {
        world.strike(fault).await.unwrap();
    }
    world.settle().await;
}

fn times(fault: Fault, short: usize, long: usize) -> impl Iterator<Item = Fault> {
    std::iter::repeat_n(fault, either(short, long))
}

#[tokio::test]
async fn mosquitto_is_killed() {
    let plan = Plan {
        name: "mosquitto killed",
        forgetful: true,
        ..Plan::default()
    };
    run(plan, times(Fault::KillMosquitto, 6, 20)).await;
}

#[tokio::test]
async fn mosquitto_with_persistence_is_killed() {
    let plan = Plan {
        name: "mosquitto with persistence killed",
        forgetful: true,
        persistent: true,
        old_mqtt: true,
        ..Plan::default()
    };
    run(plan, times(Fault::KillMosquitto, 6, 20)).await;
}

#[tokio::test]
async fn rabbitmq_is_killed() {
    let plan = Plan {
        name: "RabbitMQ killed",
        own_rabbit: true,
        ..Plan::default()
    };
    run(plan, times(Fault::KillRabbit, 2, 20)).await;
}

#[tokio::test]
async fn connections_break() {
    let plan = Plan {
        name: "connections broken",
        ..Plan::default()
    };
    let ways = [Way::Mosquitto, Way::Rabbit, Way::Clients];
    let round = ways.map(Fault::Cut).into_iter();
    let cuts = round.cycle().take(ways.len() * either(8, 100));
    let time = Duration::from_secs(either(2, 20));
    let silence = ways.map(|way| Fault::Hold(way, time));
    run(plan, cuts.chain(silence)).await;
}

#[tokio::test]
async fn callway_is_killed() {
    let plan = Plan {
        name: "callway killed",
        ..Plan::default()
    };
    run(plan, times(Fault::KillCallway, 10, 100)).await;
}

#[tokio::test]
async fn brokers_are_paused() {
    let plan = Plan {
        name: "brokers paused",
        own_rabbit: true,
        ..Plan::default()
    };
    let time = Duration::from_secs(either(4, 20));
    let round = [Fault::PauseMosquitto(time), Fault::PauseRabbit(time)];
    let rounds = round.into_iter().cycle().take(2 * either(1, 3));
    run(plan, rounds).await;
}

#[tokio::test]
async fn the_disk_is_full() {
    let disk = match Disk::mount("16m") {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped, a disk cannot be mounted here: {why}"),
    };
    let plan = Plan {
        name: "disk full",
        disk: Some(disk),
        ..Plan::default()
    };
    let often = times(Fault::FillDisk(Duration::from_millis(500)), 3, 20);
    // Longer than a broker would offer a message again and again.
    let once = times(Fault::FillDisk(Duration::from_secs(40)), 0, 1);
    run(plan, often.chain(once)).await;
}

#[tokio::test]
async fn the_disk_fails() {
    let plan = Plan {
        name: "fsync fails",
        ..Plan::default()
    };
    let mut world = World::start(plan).await;
    for fault in times(Fault::FailSync, 3, 20) {
        if let Err(why) = world.strike(fault).await {
            return eprintln!("skipped, strace may not trace here: {why}");
        }
    }
    world.settle().await;
}

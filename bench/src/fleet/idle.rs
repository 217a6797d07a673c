//! What ten thousand devices cost that have nothing to say.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::net::TcpStream;

use super::client::{Place, connect};
use crate::Failure;
use crate::brokers;
use crate::process::Process;
use crate::report::{Row, Target, short};

const DEVICES: usize = 10_000;
/// The first pay for what all share.
const FIRST: usize = 100;
const KIB: f64 = 1024.0;

/// Idle devices, each with a subscription of its own; with sessions that end with their
/// connection, and with sessions that do not.
pub async fn idle(directory: &Path) -> Result<Vec<Row>, Failure> {
    fs::create_dir_all(directory)?;
    let mut rows = Vec::new();
    for (clean, what) in [(true, "clean sessions"), (false, "sessions on disk")] {
        let name = if clean { "idle-clean" } else { "idle-kept" };
        let mosquitto = brokers::mosquitto(directory, name, "").await?;
        let floor = Place {
            port: mosquitto.port,
            token: None,
        };
        let beside = each(floor, clean, &mosquitto.process).await?;
        drop(mosquitto);
        let (daemon, port) = super::start(directory.join(name)).await?;
        let token = Some(daemon.token());
        let callway = each(Place { port, token }, clean, &daemon.process).await?;
        rows.push(Row {
            work: format!("10,000 idle devices, {what}, each"),
            base: format!("{} KiB", short(beside)),
            callway: format!("{} KiB", short(callway)),
            values: vec![callway],
            target: Target::AtMost(8.0),
        });
    }
    Ok(rows)
}

/// KiB for each.
async fn each(place: Place<'_>, clean: bool, process: &Process) -> Result<f64, Failure> {
    let mut open = devices(place, clean, 0..FIRST).await?;
    let before = settled(process).await;
    open.extend(devices(place, clean, FIRST..FIRST + DEVICES).await?);
    let after = settled(process).await;
    drop(open);
    Ok((after - before) / DEVICES as f64 / KIB)
}

async fn devices(
    place: Place<'_>,
    clean: bool,
    numbers: std::ops::Range<usize>,
) -> Result<Vec<TcpStream>, Failure> {
    let one = async |number| {
        let (client, filter) = (
            format!("device-{number}"),
            format!("devices/{number}/commands"),
        );
        connect(place, (&client, clean), Some((&filter, 1))).await
    };
    // Many at once, because a session on disk waits for it.
    let devices = stream::iter(numbers).map(one).buffer_unordered(100);
    devices.try_collect().await
}

async fn settled(process: &Process) -> f64 {
    tokio::time::sleep(Duration::from_secs(2)).await;
    process.resident()
}

//! What callway weighs: idle connections, idle memory, look-up in a large table, start.

use std::path::Path;
use std::time::Duration;

use crate::Failure;
use crate::daemon::{Daemon, Setup};
use crate::load::{self, Load};
use crate::report::{Row, Target, median, short};

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * 1024.0;

/// Idle authenticated connections.
pub async fn idle(directory: &Path) -> Result<Row, Failure> {
    const CONNECTIONS: usize = 10_000;
    let setup = Setup {
        more_rows: "[limits]\nconnections = 12000\n".into(),
        ..Setup::default()
    };
    let daemon = Daemon::start(directory.join("idle"), &setup).await?;
    // The first connections pay for what all share.
    let mut open = Vec::with_capacity(CONNECTIONS + 50);
    for _ in 0..50 {
        open.push(daemon.connect().await?);
    }
    let before = daemon.process.resident();
    for _ in 0..CONNECTIONS {
        open.push(daemon.connect().await?);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let each = (daemon.process.resident() - before) / CONNECTIONS as f64 / KIB;
    Ok(Row {
        work: "10,000 idle authenticated connections, each".into(),
        base: String::new(),
        callway: format!("{} KiB", short(each)),
        values: vec![each],
        target: Target::AtMost(8.0),
    })
}

/// Memory with 1,000 routes and nothing to do.
pub async fn memory(directory: &Path) -> Result<Row, Failure> {
    let setup = Setup {
        more_routes: 1_000,
        ..Setup::default()
    };
    let daemon = Daemon::start(directory.join("memory"), &setup).await?;
    let all = daemon.process.proportional() / MIB;
    Ok(Row {
        work: "memory idle with 1,000 routes, script hosts included".into(),
        base: format!(
            "{} MiB without them",
            short(daemon.process.resident() / MIB)
        ),
        callway: format!("{} MiB", short(all)),
        values: vec![all],
        target: Target::AtMost(64.0),
    })
}

/// From the start of the process to the first call answered.
pub async fn start(directory: &Path, rounds: usize) -> Result<Row, Failure> {
    let mut took = Vec::new();
    for round in 0..rounds.max(5) {
        let directory = directory.join(format!("start{round}"));
        let daemon = Daemon::start(directory, &Setup::default()).await?;
        took.push(daemon.started_in.as_secs_f64() * 1000.0);
    }
    Ok(Row {
        work: "start to first call answered".into(),
        base: String::new(),
        callway: format!("{} ms", short(median(&took))),
        values: took,
        target: Target::AtMost(150.0),
    })
}

/// The same call with 100,000 rows in the table and with 10, in turn.
pub async fn lookup(directory: &Path, rounds: usize, time: Duration) -> Result<Vec<Row>, Failure> {
    let table = |more_routes| Setup {
        more_routes,
        ..Setup::default()
    };
    let few = Daemon::start(directory.join("few"), &table(8)).await?;
    let many = Daemon::start(directory.join("many"), &table(99_998)).await?;
    let (mut p50, mut rate) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..rounds {
        for (index, daemon) in [&few, &many].into_iter().enumerate() {
            for (connections, in_flight) in [(1, 1), (50, 16)] {
                let load = Load {
                    connections,
                    in_flight,
                    time,
                    warm_up: time / 5,
                };
                // A name that only a captured segment takes, from the middle of the table.
                let method = if index == 0 {
                    "more/g4/m0/x"
                } else {
                    "more/g50/m500/x"
                };
                let measured = load::run(daemon.lanes(method, load).await?, load).await?;
                if connections == 1 {
                    p50[index].push(measured.percentile(0.5));
                } else {
                    rate[index].push(measured.rate());
                }
            }
        }
    }
    let ratios = |above: &[f64], below: &[f64]| {
        let pairs = above.iter().zip(below);
        pairs.map(|(above, below)| above / below).collect()
    };
    Ok(vec![
        Row {
            work: "100,000 routes against 10, p50".into(),
            base: format!("{} us", short(median(&p50[0]))),
            callway: format!("{} us", short(median(&p50[1]))),
            values: ratios(&p50[1], &p50[0]),
            target: Target::AtMost(1.2),
        },
        Row {
            work: "100,000 routes against 10, time per call at 50 x 16".into(),
            base: format!("{:.0} /s", median(&rate[0])),
            callway: format!("{:.0} /s", median(&rate[1])),
            values: ratios(&rate[0], &rate[1]),
            target: Target::AtMost(1.2),
        },
    ])
}

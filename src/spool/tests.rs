//! What the tests of the spool stand on.

mod crash;
mod damage;
mod disks;
mod failure;
mod order;
mod restart;

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const QUEUE: &str = "bus/field";

/// So small that a few records fill a file.
const SMALL: Sizes = Sizes {
    spool: 1024 * 1024,
    segment: 4 * 1024,
    slack: 16 * 1024,
    bodies: 2 * 1024,
};

/// A directory, and what is counted.
struct Ground {
    directory: TempDir,
    metrics: Arc<Metrics>,
}

impl Ground {
    fn new() -> Ground {
        Ground {
            directory: tempfile::tempdir().unwrap(),
            metrics: Arc::new(Metrics::new()),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    fn open(&self) -> Spool {
        self.open_on(Arc::new(System))
    }

    fn open_on(&self, disk: Arc<dyn Disk>) -> Spool {
        Spool::open_on(disk, &self.path(), SMALL, &self.metrics).unwrap()
    }

    /// The files of the log in their order.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut logs: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        logs
    }

    fn used(&self) -> u64 {
        let files = self.files();
        let sizes = files.iter().map(|path| path.metadata().unwrap().len());
        sizes.sum()
    }

    fn counted(&self, name: &str) -> u64 {
        let text = self.metrics.render();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

/// What the record of this number holds.
fn body(number: u64) -> Bytes {
    let text = format!("{number}: ");
    let more = (number * 37 % 200) as usize;
    let rest = (0..more).map(|at| (number as usize * 31 + at * 7) as u8);
    text.into_bytes().into_iter().chain(rest).collect()
}

/// Appends these numbers, each with its own body, and waits until all are on disk.
async fn keep(spool: &Spool, lane: Lane, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let appended = numbers
        .into_iter()
        .map(|number| spool.append(QUEUE, lane, body(number)).unwrap());
    let appended: Vec<_> = appended.collect();
    let mut ids = Vec::new();
    for appended in appended {
        ids.push(appended.id());
        appended.await.unwrap();
    }
    ids
}

/// What comes within reason.
async fn next(consumer: &mut Consumer) -> Item {
    let next = tokio::time::timeout(Duration::from_secs(20), consumer.next());
    next.await.expect("something comes")
}

/// Everything that waits, by id.
fn waiting(spool: &Spool) -> BTreeMap<u64, Bytes> {
    let listed = spool.list(None, usize::MAX);
    listed.into_iter().map(|one| (one.id, one.body)).collect()
}

fn bodies(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<u64, Bytes> {
    let bodies = numbers.into_iter().map(|number| (number, body(number)));
    bodies.collect()
}

/// Random numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % bound as u64) as usize
    }
}

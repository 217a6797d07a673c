//! How much is done, and the table of what came of it.

use std::env::var;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use super::ledger::Sum;

/// Whether this is the long run.
pub fn is_long() -> bool {
    var("CALLWAY_FAULTS").is_ok_and(|size| size == "long")
}

/// One of two numbers: for every run of the tests, and for the long one.
pub fn either<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// A line of the table that `tests/faults` shows.
pub fn line(scenario: &str, flow: impl fmt::Display, sum: &Sum, start: Instant) {
    let seconds = start.elapsed().as_secs();
    let Sum {
        attempts,
        acknowledged,
        delivered,
        lost,
        duplicates,
        inversions,
        ..
    } = sum;
    let line = format!(
        "{scenario}\t{flow}\t{attempts}\t{acknowledged}\t{delivered}\t{lost}\t{duplicates}\t\
         {inversions}\t{seconds}\n"
    );
    print!("{line}");
    if let Ok(path) = var("CALLWAY_FAULTS_TABLE") {
        let mut table = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        table.write_all(line.as_bytes()).unwrap();
    }
}

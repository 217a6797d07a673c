//! One-way calls: their route, and what their acknowledgement is compared with.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use crate::Failure;
use crate::load::{Load, Measured, Tally, sum};

/// The method whose route is one-way.
pub const METHOD: &str = "bench/oneway";

/// Appends 4 KiB to a file in this directory and waits for the disk, again and again.
pub fn syncs(directory: &Path, load: Load) -> Result<Measured, Failure> {
    let path = directory.join("bench.syncs");
    let mut file = File::create(&path)?;
    let start = Instant::now();
    let mut tally = Tally::new(start, load);
    loop {
        let begin = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        if !tally.reply(begin, Instant::now()) {
            break;
        }
    }
    fs::remove_file(path)?;
    sum(vec![tally], load)
}

//! What the spool asks of the disk. There is one that works; the tests have others.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The few things that change the directory.
pub(super) trait Disk: Send + Sync {
    /// Makes a file that is not there yet.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Writes all of this at this place.
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Cuts a file to this length.
    fn cut(&self, file: &File, length: u64) -> io::Result<()>;
    /// Waits until what a file holds is on disk.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Waits until it is on disk which files there are.
    fn sync_directory(&self, directory: &File) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The system's.
pub(super) struct System;

impl Disk for System {
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        // What is sent is nobody else's business.
        options.write(true).create_new(true).mode(0o600).open(path)
    }

    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn cut(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        directory.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

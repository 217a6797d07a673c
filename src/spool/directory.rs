//! The directory of the log, held by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::SpoolError;
use super::segment::Name;

/// Nobody writes into it but whoever holds it.
const LOCK: &str = "lock";

/// Held until this is dropped.
pub(super) struct Directory {
    pub path: PathBuf,
    /// To wait until it is on disk which files there are.
    pub handle: File,
    _lock: File,
}

impl Directory {
    /// Makes it if it is not there, and takes hold of it.
    pub(super) fn open(path: &Path) -> Result<Directory, SpoolError> {
        let failed = |error: io::Error| SpoolError {
            path: path.to_owned(),
            why: error.to_string(),
        };
        if !path.is_dir() {
            make(path).map_err(failed)?;
        }
        let handle = File::open(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(path.join(LOCK)).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => SpoolError {
                path: path.to_owned(),
                why: "another callway holds it; stop that one first".to_owned(),
            },
            errno => failed(errno.into()),
        })?;
        Ok(Directory {
            path: path.to_owned(),
            handle,
            _lock: lock,
        })
    }

    /// The files of the log, in their order.
    pub(super) fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            match name.to_str().and_then(Name::parse) {
                Some(name) => names.push(name),
                None if name == LOCK => {}
                None => tracing::warn!(file = ?name, "is no part of the spool; it is left alone"),
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// With whatever stands above it, so that it is still there after a power loss.
fn make(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

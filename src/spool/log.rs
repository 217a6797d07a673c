//! The end of the log, where records are added: one write and one sync for a group of them.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::directory::Directory;
use super::disk::Disk;
use super::entry::Place;
use super::record::{Kept, Seal};
use super::recovery::Recovered;
use super::segment::Name;
use crate::call::random_bits;

/// Ids in one record of marks.
const MARKS: usize = 1024;

/// The end of the log. Files that an earlier process wrote are never added to.
pub(super) struct Log {
    directory: Directory,
    disk: Arc<dyn Disk>,
    /// A file of this size is full.
    size: u64,
    active: Option<Active>,
    next_key: u32,
    next_number: u64,
    next_id: u64,
}

/// The file that is added to.
struct Active {
    key: u32,
    name: Name,
    seal: Seal,
    file: File,
    /// Up to here it holds whole records.
    end: u64,
    /// It is on disk that there is this file.
    entered: bool,
}

/// How far a file has grown.
pub(super) struct Grown {
    pub key: u32,
    pub name: Name,
    pub end: u64,
}

/// Why a group was not kept.
pub(super) struct Failure {
    pub error: io::Error,
    /// Its records may be on disk for all that.
    pub unsure: bool,
}

impl Failure {
    /// There is no room, rather than something wrong with the disk.
    pub(super) fn is_full(&self) -> bool {
        is_full(&self.error)
    }
}

fn is_full(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl Log {
    /// Goes on after what was recovered.
    pub(super) fn new(
        directory: Directory,
        disk: Arc<dyn Disk>,
        size: u64,
        recovered: &Recovered,
    ) -> Log {
        Log {
            directory,
            disk,
            size,
            active: None,
            next_key: recovered.segments.len() as u32,
            next_number: recovered.next_number,
            next_id: recovered.next_id,
        }
    }

    /// Begins a group, in a new file if there is none or it is full.
    pub(super) fn begin(&mut self) -> Result<Draft<'_>, Failure> {
        let active = match self.active.take() {
            Some(active) if active.end < self.size => active,
            _ => self.create().map_err(|error| Failure {
                error,
                unsure: false,
            })?,
        };
        let mut buffer = Vec::new();
        if active.end == 0 {
            active.seal.start(&mut buffer, self.next_id);
        }
        Ok(Draft {
            log: self,
            active,
            buffer,
        })
    }

    fn create(&self) -> io::Result<Active> {
        let random = random_bits().ok_or_else(|| io::Error::other("no random numbers"))?;
        let name = Name {
            number: self.next_number,
            salt: random as u64,
        };
        Ok(Active {
            key: self.next_key,
            name,
            seal: name.seal(),
            file: self.disk.create(&name.path(&self.directory.path))?,
            end: 0,
            entered: false,
        })
    }

    /// Removes files that nobody needs any more.
    pub(super) fn remove(&self, names: &[Name]) {
        for name in names {
            if let Err(error) = self.disk.remove(&name.path(&self.directory.path)) {
                tracing::warn!(file = %name, %error, "a file of the spool cannot be removed");
            }
        }
        // Should one come back, what was done with it is done again: nothing is lost.
        if let Err(error) = self.disk.sync_directory(&self.directory.handle) {
            tracing::warn!(%error, "the spool's directory cannot be synchronised");
        }
    }
}

/// A group on its way to disk.
pub(super) struct Draft<'a> {
    log: &'a mut Log,
    active: Active,
    buffer: Vec<u8>,
}

impl Draft<'_> {
    /// Adds a record; says where it will lie.
    pub(super) fn kept(&mut self, record: &Kept) -> Place {
        self.log.next_id = self.log.next_id.max(record.id + 1);
        let offset = self.active.end + self.buffer.len() as u64;
        Place {
            segment: self.active.key,
            // A file ends soon after it is full, long before 32 bits are.
            offset: offset as u32,
            length: self.active.seal.kept(&mut self.buffer, record),
        }
    }

    /// Adds marks for records that wait no more.
    pub(super) fn done(&mut self, ids: &[u64]) {
        for ids in ids.chunks(MARKS) {
            self.active.seal.done(&mut self.buffer, ids);
        }
    }

    /// Writes the group, and waits until it is on disk if `sync`.
    ///
    /// Where there is no room, what was written is cut off again. After any other failure nobody
    /// knows what the disk holds, and a later sync would not tell: the file is never added to again.
    pub(super) fn finish(self, sync: bool) -> Result<Grown, Failure> {
        let Draft {
            log,
            mut active,
            buffer,
        } = self;
        if let Err(error) = log.disk.write(&active.file, &buffer, active.end) {
            if active.end > 0 && is_full(&error) {
                let cut = log.disk.cut(&active.file, active.end);
                let unsure = cut.is_err();
                log.active = (!unsure).then_some(active);
                return Err(Failure { error, unsure });
            }
            return Err(log.seal(active, error));
        }
        if sync && let Err(error) = log.sync(&mut active) {
            return Err(log.seal(active, error));
        }
        if active.end == 0 {
            log.next_key += 1;
            log.next_number += 1;
        }
        active.end += buffer.len() as u64;
        let grown = Grown {
            key: active.key,
            name: active.name,
            end: active.end,
        };
        log.active = Some(active);
        Ok(grown)
    }
}

impl Log {
    fn sync(&self, active: &mut Active) -> io::Result<()> {
        self.disk.sync(&active.file)?;
        if !active.entered {
            self.disk.sync_directory(&self.directory.handle)?;
            active.entered = true;
        }
        Ok(())
    }

    /// Leaves a file for good. One that holds nothing else goes at once.
    fn seal(&self, active: Active, error: io::Error) -> Failure {
        let gone = active.end == 0 && {
            let path = active.name.path(&self.directory.path);
            self.disk.remove(&path).is_ok()
        };
        Failure {
            error,
            unsure: !gone,
        }
    }
}

//! What records hold: kept in memory while there is room, else read back from where they lie.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Lane;
use super::entry::Place;
use super::record::Record;
use super::segment::Name;

/// What the index does not keep of a record.
#[derive(Clone, Debug)]
pub(super) struct Body {
    /// Milliseconds since 1970.
    pub accepted: u64,
    pub lane: Lane,
    pub bytes: Bytes,
}

/// The bodies in memory. What comes when there is no room is not kept: records are sent in their
/// order, so the earlier ones are wanted first.
pub(super) struct Bodies {
    kept: HashMap<u64, Body>,
    bytes: usize,
    room: usize,
}

impl Bodies {
    pub(super) fn new(room: usize) -> Bodies {
        Bodies {
            kept: HashMap::new(),
            bytes: 0,
            room,
        }
    }

    pub(super) fn keep(&mut self, id: u64, body: Body) {
        if self.bytes + body.bytes.len() <= self.room {
            self.bytes += body.bytes.len();
            self.kept.insert(id, body);
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&Body> {
        self.kept.get(&id)
    }

    pub(super) fn forget(&mut self, id: u64) {
        if let Some(body) = self.kept.remove(&id) {
            self.bytes -= body.bytes.len();
        }
    }
}

/// Where a record lies, whatever else happens to the list of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub name: Name,
    pub place: Place,
}

/// Reads records back. One file is held open: neighbours are read one after the other.
pub(super) struct Files {
    directory: PathBuf,
    last: Mutex<Option<(Name, Arc<File>)>>,
}

impl Files {
    pub(super) fn new(directory: PathBuf) -> Files {
        Files {
            directory,
            last: Mutex::new(None),
        }
    }

    /// Reads a record; `None` if what lies there is not this record.
    pub(super) fn read(&self, id: u64, spot: &Spot) -> io::Result<Option<Body>> {
        let mut frame = vec![0; spot.place.length as usize];
        let file = self.open(spot.name)?;
        file.read_exact_at(&mut frame, spot.place.offset.into())?;
        let found = match spot.name.seal().read(&frame) {
            Some((Record::Kept(kept), _)) if kept.id == id => {
                (kept.accepted, kept.lane, kept.body.len())
            }
            _ => return Ok(None),
        };
        let (accepted, lane, length) = found;
        let start = frame.len() - length;
        Ok(Some(Body {
            accepted,
            lane,
            bytes: Bytes::from(frame).slice(start..),
        }))
    }

    fn open(&self, name: Name) -> io::Result<Arc<File>> {
        let mut last = self.last.lock();
        match &*last {
            Some((held, file)) if *held == name => Ok(file.clone()),
            _ => {
                let file = Arc::new(File::open(name.path(&self.directory))?);
                *last = Some((name, file.clone()));
                Ok(file)
            }
        }
    }

    /// Lets go of a file that is removed, so that its room is given back.
    pub(super) fn forget(&self, name: Name) {
        let mut last = self.last.lock();
        if last.as_ref().is_some_and(|(held, _)| *held == name) {
            *last = None;
        }
    }
}

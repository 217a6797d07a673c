//! Reads what an earlier process left. Whatever lies there, this comes to an end with every record
//! that is not damaged.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::directory::Directory;
use super::entry::{Entry, Place};
use super::record::Record;
use super::scan::{Found, Scan};
use super::segment::{Name, Segment, Segments};

/// What was found.
#[derive(Default)]
pub(super) struct Recovered {
    pub segments: Segments,
    /// What waits in each queue, by id.
    pub queues: Vec<(Arc<str>, Vec<Entry>)>,
    /// Greater than every id that was ever given.
    pub next_id: u64,
    /// Of the next file.
    pub next_number: u64,
    /// Stretches of damage, and files that are missing.
    pub damaged: u64,
}

/// Reads all files in their order.
pub(super) fn read(directory: &Directory) -> io::Result<Recovered> {
    let mut reading = Reading {
        next_id: 1,
        ..Reading::default()
    };
    let mut last: Option<u64> = None;
    for name in directory.names()? {
        if last.is_some_and(|last| name.number > last + 1) {
            tracing::error!(before = %name, "a file of the spool is missing; what was in it is lost");
            reading.damaged += 1;
        }
        if reading.file(directory, name) {
            last = Some(name.number);
        }
    }
    Ok(reading.end(last.map_or(1, |last| last + 1)))
}

/// The whole file, if that is what it is: a pipe would never end.
fn load(path: &Path) -> io::Result<Vec<u8>> {
    let about = path.symlink_metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    // Places in it are found by 32 bits.
    if about.len() > u32::MAX.into() {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    std::fs::read(path)
}

#[derive(Default)]
struct Reading {
    /// What waits: its queue and its entry.
    waiting: HashMap<u64, (usize, Entry)>,
    queues: Vec<Arc<str>>,
    segments: Segments,
    next_id: u64,
    damaged: u64,
}

impl Reading {
    /// Reads a file; says whether its number is taken.
    fn file(&mut self, directory: &Directory, name: Name) -> bool {
        let path = name.path(&directory.path);
        let bytes = match load(&path) {
            Ok(bytes) => bytes,
            Err(error) => return self.leave_alone(name, &error.to_string()),
        };
        let Some(segment) = self.records(name, &bytes) else {
            if bytes.iter().any(|byte| *byte != 0) {
                return self.leave_alone(name, "there is no record in it");
            }
            // It was made, and then the power went, or it never held more than that.
            self.damaged += u64::from(!bytes.is_empty());
            if let Err(error) = std::fs::remove_file(&path) {
                return self.leave_alone(name, &error.to_string());
            }
            return false;
        };
        self.segments.push(segment);
        true
    }

    fn leave_alone(&mut self, name: Name, why: &str) -> bool {
        tracing::error!(file = %name, why, "a file of the spool cannot be used; it is left alone");
        self.damaged += 1;
        true
    }

    /// Takes over the records of a file, if there are any.
    fn records(&mut self, name: Name, bytes: &[u8]) -> Option<Segment> {
        let key = self.segments.len() as u32;
        let (mut records, mut stretches, mut lost) = (0, 0, 0);
        for found in Scan::new(name.seal(), bytes) {
            match found {
                Found::Damage { length } => {
                    stretches += 1;
                    lost += length;
                }
                Found::Record { at, length, record } => {
                    records += 1;
                    let place = Place {
                        segment: key,
                        offset: at as u32,
                        length: length as u32,
                    };
                    self.record(place, record);
                }
            }
        }
        if records == 0 {
            return None;
        }
        if stretches > 0 {
            tracing::error!(file = %name, stretches, bytes = lost, "the spool is damaged; what was there is lost");
            self.damaged += stretches;
        }
        Some(Segment {
            key,
            name,
            bytes: bytes.len() as u64,
            live: 0,
        })
    }

    fn record(&mut self, place: Place, record: Record) {
        match record {
            Record::Start(next) => self.next_id = self.next_id.max(next),
            // A mark counts for what stands before it: should ids ever be given again after
            // damage, it does not take away what came later.
            Record::Done(ids) => {
                for id in ids {
                    self.next_id = self.next_id.max(id.saturating_add(1));
                    self.waiting.remove(&id);
                }
            }
            Record::Kept(kept) => {
                self.next_id = self.next_id.max(kept.id.saturating_add(1));
                let known = self.queues.iter().position(|name| **name == *kept.queue);
                let queue = known.unwrap_or_else(|| {
                    self.queues.push(kept.queue.into());
                    self.queues.len() - 1
                });
                let entry = Entry::new(kept.id, place, kept.lane, kept.accepted);
                // A copy stands for the original, which is about to go.
                self.waiting.insert(kept.id, (queue, entry));
            }
        }
    }

    fn end(mut self, next_number: u64) -> Recovered {
        let names = self.queues.into_iter();
        let mut queues: Vec<_> = names.map(|name| (name, Vec::new())).collect();
        for (queue, entry) in self.waiting.into_values() {
            if let Some(segment) = self.segments.find(entry.place.segment) {
                segment.live += 1;
            }
            queues[queue].1.push(entry);
        }
        for (_name, entries) in &mut queues {
            entries.sort_unstable_by_key(|entry| entry.id);
        }
        Recovered {
            segments: self.segments,
            queues,
            next_id: self.next_id,
            next_number,
            damaged: self.damaged,
        }
    }
}

//! Disks that fail.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::*;

/// What a disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// Half of what is written finds room.
    Full,
    /// The same, and what was written cannot be cut off again.
    FullForGood,
    /// Half of what is written is, then there is an error.
    NoWrite,
    NoSync,
}

/// A disk that does as it is told.
pub(super) struct Moody(Mutex<Mood>);

impl Moody {
    pub(super) fn new() -> Arc<Moody> {
        Arc::new(Moody(Mutex::new(Mood::Well)))
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.0.lock() = mood;
    }

    fn is(&self, moods: &[Mood]) -> bool {
        moods.contains(&*self.0.lock())
    }
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Disk for Moody {
    fn create(&self, path: &Path) -> io::Result<File> {
        System.create(path)
    }

    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.is(&[Mood::Well, Mood::NoSync]) {
            return System.write(file, bytes, at);
        }
        System.write(file, &bytes[..bytes.len() / 2], at)?;
        if self.is(&[Mood::NoWrite]) {
            return Err(broken());
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    fn cut(&self, file: &File, length: u64) -> io::Result<()> {
        if self.is(&[Mood::FullForGood]) {
            return Err(broken());
        }
        System.cut(file, length)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if self.is(&[Mood::NoSync]) {
            return Err(broken());
        }
        System.sync(file)
    }

    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        System.sync_directory(directory)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        System.remove(path)
    }
}

/// A disk that dies at some point: until then everything works, from then on nothing happens any
/// more, as if the process had been killed there.
pub(super) struct Mortal(Mutex<Life>);

struct Life {
    /// Bytes that can still be written; other deeds count as one.
    left: usize,
    /// By inode: the path, how much is synchronised, and whether the directory knows the file.
    files: HashMap<u64, (PathBuf, u64, bool)>,
}

impl Mortal {
    pub(super) fn new(left: usize) -> Arc<Mortal> {
        Arc::new(Mortal(Mutex::new(Life {
            left,
            files: HashMap::new(),
        })))
    }

    /// Does to the directory what may happen to it when the power goes: what was not synchronised
    /// is there in part or not at all.
    pub(super) fn lose_power(&self, dice: &mut Dice) {
        for (path, synced, entered) in self.0.lock().files.values() {
            let Ok(file) = OpenOptions::new().write(true).open(path) else {
                continue; // removed
            };
            if !entered && dice.below(2) == 0 {
                std::fs::remove_file(path).unwrap();
                continue;
            }
            let unsynced = file.metadata().unwrap().len() - synced;
            let kept = dice.below(unsynced as usize + 1) as u64;
            file.set_len(synced + kept).unwrap();
        }
    }

    fn do_one(&self) -> io::Result<()> {
        let mut life = self.0.lock();
        life.left = life.left.checked_sub(1).ok_or_else(broken)?;
        Ok(())
    }
}

fn inode(file: &File) -> u64 {
    file.metadata().unwrap().ino()
}

impl Disk for Mortal {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.do_one()?;
        let file = System.create(path)?;
        let known = (path.to_owned(), 0, false);
        self.0.lock().files.insert(inode(&file), known);
        Ok(file)
    }

    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut life = self.0.lock();
        let written = bytes.len().min(life.left);
        life.left -= written;
        System.write(file, &bytes[..written], at)?;
        if written < bytes.len() {
            return Err(broken());
        }
        Ok(())
    }

    fn cut(&self, _file: &File, _length: u64) -> io::Result<()> {
        Err(broken()) // never full
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.do_one()?;
        let length = file.metadata()?.len();
        if let Some(known) = self.0.lock().files.get_mut(&inode(file)) {
            known.1 = length;
        }
        Ok(())
    }

    fn sync_directory(&self, _directory: &File) -> io::Result<()> {
        self.do_one()?;
        for known in self.0.lock().files.values_mut() {
            known.2 = true;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.do_one()?;
        System.remove(path)
    }
}

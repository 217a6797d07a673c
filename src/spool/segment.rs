//! The files of the log: their names, and what of them is still needed.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};

use super::record::Seal;

/// Higher numbers were not given by a spool, and leave no room to count on.
const HIGHEST: u64 = 1 << 48;

/// `00000001-0123456789abcdef.log`: the place in the order of files, and the salt of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub number: u64,
    pub salt: u64,
}

impl Name {
    /// Reads a file name; `None` if it is none of these.
    pub(super) fn parse(text: &str) -> Option<Name> {
        let (number, salt) = text.strip_suffix(".log")?.split_once('-')?;
        let name = Name {
            number: number.parse().ok()?,
            salt: u64::from_str_radix(salt, 16).ok()?,
        };
        // One way to write it, so that no two files have the same name.
        (name.number < HIGHEST && name.to_string() == text).then_some(name)
    }

    /// Where the file is.
    pub(super) fn path(&self, directory: &Path) -> PathBuf {
        directory.join(self.to_string())
    }

    /// Makes and knows its records.
    pub(super) fn seal(&self) -> Seal {
        Seal::new(self.salt)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08}-{:016x}.log", self.number, self.salt)
    }
}

/// A file that is there.
#[derive(Debug)]
pub(super) struct Segment {
    /// Grows from file to file of one process.
    pub key: u32,
    pub name: Name,
    /// Its length.
    pub bytes: u64,
    /// Records in it that still wait.
    pub live: u32,
}

/// All files, oldest first.
#[derive(Default)]
pub(super) struct Segments(VecDeque<Segment>);

impl Segments {
    /// A file that was found.
    pub(super) fn push(&mut self, segment: Segment) {
        self.0.push_back(segment);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn find(&mut self, key: u32) -> Option<&mut Segment> {
        let at = self.0.binary_search_by_key(&key, |segment| segment.key);
        self.0.get_mut(at.ok()?)
    }

    /// The last file holds more than before, or there is a new one.
    pub(super) fn grow(&mut self, key: u32, name: Name, bytes: u64) {
        match self.0.back_mut() {
            Some(last) if last.key == key => last.bytes = bytes,
            _ => self.0.push_back(Segment {
                key,
                name,
                bytes,
                live: 0,
            }),
        }
    }

    /// Forgets the oldest files in which nothing waits. The last one stays: it knows the ids.
    pub(super) fn needless(&mut self) -> Vec<Name> {
        let mut names = Vec::new();
        while self.0.len() > 1 && self.0[0].live == 0 {
            names.extend(self.0.pop_front().map(|segment| segment.name));
        }
        names
    }

    /// What all take on disk. Small ones count for more than they are, so that very many of them
    /// are put together.
    pub(super) fn used(&self, smallest: u64) -> u64 {
        let size = |segment: &Segment| segment.bytes.max(smallest);
        self.0.iter().map(size).sum()
    }

    /// The oldest, unless it is the one that is written.
    pub(super) fn oldest(&self) -> Option<u32> {
        let oldest = self.0.front().filter(|_| self.0.len() > 1);
        oldest.map(|segment| segment.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_spool_gives_are_taken() {
        let name = Name {
            number: 12,
            salt: 0xfeed,
        };
        assert_eq!(name.to_string(), "00000012-000000000000feed.log");
        assert_eq!(Name::parse(&name.to_string()), Some(name));
        for foreign in [
            "",
            ".log",
            "-.log",
            "lock",
            "12-feed.log",
            "00000012-000000000000FEED.log",
            "00000012-000000000000feed.log~",
            "00000012-000000000000feed",
            "+0000012-000000000000feed.log",
            "18446744073709551615-000000000000feed.log",
        ] {
            assert_eq!(Name::parse(foreign), None, "{foreign}");
        }
    }
}

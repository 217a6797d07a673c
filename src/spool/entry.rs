//! What is kept in memory of each record that waits: 32 bytes.

use super::Lane;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The key of the file.
    pub segment: u32,
    pub offset: u32,
    /// Of its frame.
    pub length: u32,
}

/// A record that waits.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub id: u64,
    pub place: Place,
    lane: u32,
    /// When it was accepted, in seconds since 1970; the record knows it exactly.
    pub seconds: u32,
    /// How often it was handed out.
    pub attempts: u16,
    own: bool,
    /// It waits no more, and keeps its place among the others until that is cheap to take away.
    pub gone: bool,
}

/// A lane as it is compared. Named ones are folded: two that meet only wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    /// Of this record alone.
    Own(u64),
    /// Of all that have the same name.
    Named(u32),
}

impl Entry {
    pub(super) fn new(id: u64, place: Place, lane: Lane, accepted: u64) -> Entry {
        let (own, lane) = match lane {
            Lane::Own => (true, 0),
            Lane::Named(lane) => (false, (lane ^ (lane >> 32)) as u32),
        };
        Entry {
            id,
            place,
            lane,
            seconds: u32::try_from(accepted / 1000).unwrap_or(u32::MAX),
            attempts: 0,
            own,
            gone: false,
        }
    }

    /// Its lane.
    pub(super) fn key(&self) -> Key {
        if self.own {
            Key::Own(self.id)
        } else {
            Key::Named(self.lane)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn millions_of_them_fit_into_memory() {
        assert_eq!(size_of::<Entry>(), 32);
    }
}

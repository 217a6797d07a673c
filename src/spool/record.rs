//! How a record lies in a file: a frame that can be made and known only with the file's own salt.

use crc32fast::Hasher;

use super::Lane;

/// Sync word, length, checksum; each four bytes, little-endian as everything here.
pub(super) const HEAD: usize = 12;
/// What stands before the queue's name and the body of a record that waits.
const FIXED: usize = 28;

const KEPT: u8 = 1;
const DONE: u8 = 2;
const START: u8 = 3;

/// Makes and knows the frames of one file. Sync word and checksum both hang on the salt in the
/// file's name, which no client ever sees, so no payload can hold a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    word: [u8; 4],
    seed: u32,
}

/// What a frame holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// Something that waits.
    Kept(Kept<'a>),
    /// Records before this one that wait no more.
    Done(Vec<u64>),
    /// The first record of a file: every id before it was smaller than this.
    Start(u64),
}

/// Something that waits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept<'a> {
    pub id: u64,
    /// Milliseconds since 1970.
    pub accepted: u64,
    pub lane: Lane,
    pub queue: &'a str,
    pub body: &'a [u8],
}

/// What the frame of a record with so long a body takes; `None` if no frame is so large.
pub(super) fn length_of(queue: &str, body: usize) -> Option<u32> {
    u16::try_from(queue.len()).ok()?;
    let length = body.checked_add(HEAD + FIXED + queue.len())?;
    u32::try_from(length).ok()
}

impl Seal {
    pub(super) fn new(salt: u64) -> Seal {
        // Never zero: a file full of zeros is to hold no sync word.
        let word = ((salt >> 32) as u32).max(1);
        Seal {
            word: word.to_le_bytes(),
            seed: salt as u32,
        }
    }

    /// Appends the frame of a record that waits; [`length_of`] has said that it fits.
    pub(super) fn kept(self, out: &mut Vec<u8>, record: &Kept) -> u32 {
        let (own, lane) = match record.lane {
            Lane::Own => (1, 0),
            Lane::Named(lane) => (0, lane),
        };
        self.frame(out, |out| {
            out.push(KEPT);
            out.extend(record.id.to_le_bytes());
            out.extend(record.accepted.to_le_bytes());
            out.push(own);
            out.extend(lane.to_le_bytes());
            out.extend((record.queue.len() as u16).to_le_bytes());
            out.extend(record.queue.as_bytes());
            out.extend(record.body);
        })
    }

    /// Appends the frame of marks.
    pub(super) fn done(self, out: &mut Vec<u8>, ids: &[u64]) -> u32 {
        self.frame(out, |out| {
            out.push(DONE);
            out.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
        })
    }

    /// Appends the frame that begins a file.
    pub(super) fn start(self, out: &mut Vec<u8>, next: u64) -> u32 {
        self.frame(out, |out| {
            out.push(START);
            out.extend(next.to_le_bytes());
        })
    }

    fn frame(self, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) -> u32 {
        let start = out.len();
        out.extend(self.word);
        out.extend([0; HEAD - 4]);
        fill(out);
        let (head, content) = out[start..].split_at_mut(HEAD);
        let length = (content.len() as u32).to_le_bytes();
        head[4..8].copy_from_slice(&length);
        head[8..].copy_from_slice(&self.checksum(length, content).to_le_bytes());
        (HEAD + content.len()) as u32
    }

    /// The record at the beginning of these bytes, and the length of its frame.
    pub(super) fn read(self, bytes: &[u8]) -> Option<(Record<'_>, usize)> {
        if !bytes.starts_with(&self.word) {
            return None;
        }
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let mut head = Fields(&head[4..]);
        let length: [u8; 4] = head.array()?;
        let checksum = u32::from_le_bytes(head.array()?);
        let content = rest.get(..u32::from_le_bytes(length) as usize)?;
        if self.checksum(length, content) != checksum {
            return None;
        }
        Some((Record::parse(content)?, HEAD + content.len()))
    }

    fn checksum(self, length: [u8; 4], content: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.seed);
        hasher.update(&length);
        hasher.update(content);
        hasher.finalize()
    }
}

impl Record<'_> {
    fn parse(content: &[u8]) -> Option<Record<'_>> {
        let mut fields = Fields(content);
        match fields.byte()? {
            KEPT => {
                let id = fields.number()?;
                let accepted = fields.number()?;
                let own = fields.byte()? != 0;
                let lane = fields.number()?;
                let name = u16::from_le_bytes(fields.array()?);
                let (queue, body) = fields.0.split_at_checked(name.into())?;
                Some(Record::Kept(Kept {
                    id,
                    accepted,
                    lane: if own { Lane::Own } else { Lane::Named(lane) },
                    queue: std::str::from_utf8(queue).ok()?,
                    body,
                }))
            }
            DONE => {
                let mut ids = Vec::with_capacity(fields.0.len() / 8);
                while !fields.0.is_empty() {
                    ids.push(fields.number()?);
                }
                Some(Record::Done(ids))
            }
            START => Some(Record::Start(fields.number()?)),
            _ => None,
        }
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

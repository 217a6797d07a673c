//! Walks through the records of a file, over what is damaged to the next that is not.

use super::record::{Record, Seal};

/// The walk.
pub(super) struct Scan<'a> {
    seal: Seal,
    bytes: &'a [u8],
    at: usize,
}

/// What lies next.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A whole record.
    Record {
        at: usize,
        length: usize,
        record: Record<'a>,
    },
    /// Bytes that are no record, up to the next one or the end.
    Damage { length: usize },
}

impl<'a> Scan<'a> {
    /// From the beginning of a file.
    pub(super) fn new(seal: Seal, bytes: &'a [u8]) -> Scan<'a> {
        Scan { seal, bytes, at: 0 }
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let at = self.at;
        let rest = &self.bytes[at..];
        if rest.is_empty() {
            return None;
        }
        if let Some((record, length)) = self.seal.read(rest) {
            self.at += length;
            return Some(Found::Record { at, length, record });
        }
        let mut candidates = 1..rest.len();
        let length = candidates.find(|&skip| self.seal.read(&rest[skip..]).is_some());
        let length = length.unwrap_or(rest.len());
        self.at += length;
        Some(Found::Damage { length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Lane;
    use crate::spool::record::Kept;

    const SALT: u64 = 0x1234_5678_9abc_def0;

    fn kept(seal: Seal, id: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let record = Kept {
            id,
            accepted: 7,
            lane: Lane::Named(3),
            queue: "bus/field",
            body,
        };
        assert_eq!(seal.kept(&mut out, &record) as usize, out.len());
        out
    }

    /// The ids of the records, and the lengths of the damage.
    fn walk(bytes: &[u8]) -> (Vec<u64>, Vec<usize>) {
        let (mut ids, mut damage) = (Vec::new(), Vec::new());
        for found in Scan::new(Seal::new(SALT), bytes) {
            match found {
                Found::Record { record, .. } => match record {
                    Record::Kept(kept) => ids.push(kept.id),
                    other => panic!("{other:?}"),
                },
                Found::Damage { length } => damage.push(length),
            }
        }
        (ids, damage)
    }

    #[test]
    fn damage_costs_only_the_record_that_it_hit() {
        let seal = Seal::new(SALT);
        let records: Vec<_> = (1..=3).map(|id| kept(seal, id, b"body")).collect();
        let length = records[0].len();
        let whole = records.concat();
        assert_eq!(walk(&whole), (vec![1, 2, 3], vec![]));
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let mut left = vec![1, 2, 3];
            left.remove(at / length);
            assert_eq!(walk(&bytes), (left, vec![length]), "flipped at {at}");
            let (ids, damage) = walk(&whole[..at]);
            assert_eq!(ids.len(), at / length, "cut at {at}");
            assert_eq!(damage.iter().sum::<usize>(), at % length);
        }
    }

    #[test]
    fn a_record_in_a_payload_is_no_record() {
        let forged = kept(Seal::new(0x4242_4242_4242_4242), 666, b"forged");
        let mut bytes = kept(Seal::new(SALT), 1, &forged);
        assert_eq!(walk(&bytes), (vec![1], vec![]));
        // Now that the walk has to search within the payload.
        bytes[5] ^= 1;
        assert_eq!(walk(&bytes), (vec![], vec![bytes.len()]));
    }

    #[test]
    fn zeros_are_damage() {
        let mut bytes = kept(Seal::new(SALT), 1, b"");
        bytes.extend([0; 5000]);
        assert_eq!(walk(&bytes), (vec![1], vec![5000]));
        let no_salt: Vec<_> = Scan::new(Seal::new(0), &[0; 5000]).collect();
        assert!(matches!(no_salt[..], [Found::Damage { length: 5000 }]));
    }

    #[test]
    fn every_form_is_read_as_it_was_written() {
        let seal = Seal::new(SALT);
        let mut out = Vec::new();
        seal.start(&mut out, 17);
        seal.done(&mut out, &[1, u64::MAX]);
        let own = Kept {
            id: 18,
            accepted: u64::MAX,
            lane: Lane::Own,
            queue: "",
            body: b"",
        };
        seal.kept(&mut out, &own);
        let records: Vec<_> = Scan::new(seal, &out)
            .map(|found| match found {
                Found::Record { record, .. } => record,
                damage @ Found::Damage { .. } => panic!("{damage:?}"),
            })
            .collect();
        let expected = [
            Record::Start(17),
            Record::Done(vec![1, u64::MAX]),
            Record::Kept(own),
        ];
        assert_eq!(records, expected);
    }
}

//! Whatever happens to the files: it opens, and only what was hit is lost.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;

use super::bodies::Spot;
use super::record::Record;
use super::scan::{Found, Scan};
use super::segment::Name;
use super::*;

/// A file as it was, and what is in it.
struct Pristine {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where each record lies, and the id that it keeps.
    kept: Vec<(Range<usize>, u64)>,
    /// Where each mark lies, and the ids that it takes away.
    marks: Vec<(Range<usize>, Vec<u64>)>,
}

fn pristine(path: PathBuf) -> Pristine {
    let bytes = fs::read(&path).unwrap();
    let name = Name::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let (mut kept, mut marks) = (Vec::new(), Vec::new());
    for found in Scan::new(name.seal(), &bytes) {
        let Found::Record { at, length, record } = found else {
            panic!("{found:?}");
        };
        match record {
            Record::Kept(record) => kept.push((at..at + length, record.id)),
            Record::Done(ids) => marks.push((at..at + length, ids)),
            Record::Start(_) => {}
        }
    }
    Pristine {
        path,
        bytes,
        kept,
        marks,
    }
}

/// Some files, with records that wait, that are done, and that were copied.
async fn log(ground: &Ground) -> Vec<Pristine> {
    for round in 0..3 {
        let spool = ground.open();
        let mut consumer = spool.consume(QUEUE);
        let first = 1 + round * 20;
        keep(&spool, Lane::Named(1), first..first + 20).await;
        let mut out = Vec::new();
        for number in 0..20 {
            let item = next(&mut consumer).await;
            if number % 3 == 0 {
                out.push(item);
            } else {
                item.done();
            }
        }
        spool.close().await;
    }
    ground.files().into_iter().map(pristine).collect()
}

/// What one mutation did: the file, and where; whether it must be noticed.
struct Harm {
    file: usize,
    hit: Range<usize>,
    noticed: bool,
}

/// Does something to one file.
fn harm(files: &[Pristine], dice: &mut Dice) -> Harm {
    let file = dice.below(files.len());
    let Pristine { path, bytes, .. } = &files[file];
    let length = bytes.len();
    let at = dice.below(length);
    let mut now = bytes.clone();
    let hit = match dice.below(6) {
        0 => {
            now[at] ^= 1 << dice.below(8);
            at..at + 1
        }
        1 => {
            now.truncate(at);
            at..length
        }
        2 => {
            now[at..].fill(0);
            at..length
        }
        3 => {
            let end = at + 1 + dice.below(length - at);
            now[at..end]
                .iter_mut()
                .for_each(|byte| *byte = dice.below(256) as u8);
            at..end
        }
        4 => {
            // Two blocks of the same size change places.
            let size = 1 + dice.below(200);
            let (one, other) = (at.min(length - size), dice.below(length - size + 1));
            let (one, other) = (one.min(other), one.max(other));
            if one + size <= other {
                let (left, right) = now.split_at_mut(other);
                left[one..one + size].swap_with_slice(&mut right[..size]);
            }
            one..other + size
        }
        _ => {
            fs::remove_file(path).unwrap();
            return Harm {
                file,
                hit: 0..length,
                noticed: (1..files.len() - 1).contains(&file),
            };
        }
    };
    fs::write(path, &now).unwrap();
    Harm {
        file,
        noticed: now.len() == length && now != *bytes,
        hit,
    }
}

/// What is read back of everything that is found.
fn recover(ground: &Ground) -> (BTreeMap<u64, Bytes>, u64) {
    let directory = Directory::open(&ground.path()).unwrap();
    let mut recovered = recovery::read(&directory).unwrap();
    let files = Files::new(ground.path());
    let mut found = BTreeMap::new();
    for (name, entries) in recovered.queues {
        assert_eq!(*name, *QUEUE);
        for entry in entries {
            let place = entry.place;
            let name = recovered.segments.find(place.segment).unwrap().name;
            let read = files.read(entry.id, &Spot { name, place }).unwrap();
            found.insert(entry.id, read.unwrap().bytes);
        }
    }
    (found, recovered.damaged)
}

#[tokio::test]
async fn ten_thousand_harms_cost_only_what_they_hit() {
    let ground = Ground::new();
    let files = log(&ground).await;
    assert!(files.len() >= 3);
    let (live, damaged) = recover(&ground);
    assert_eq!((live.len(), damaged), (21, 0));
    let mut dice = Dice(42);
    let (mut lost, mut noticed) = (0, 0);
    for round in 0..10_000 {
        let harm = harm(&files, &mut dice);
        let whole = |file: usize, place: &Range<usize>| {
            file != harm.file || place.end <= harm.hit.start || harm.hit.end <= place.start
        };
        let (found, damaged) = recover(&ground);
        // Never a wrong body.
        for (id, found) in &found {
            assert_eq!(*found, body(*id), "round {round}");
        }
        let mut marked: BTreeSet<u64> = BTreeSet::new();
        for (file, pristine) in files.iter().enumerate() {
            for (place, id) in &pristine.kept {
                if live.contains_key(id) && whole(file, place) {
                    assert!(found.contains_key(id), "{id} is lost in round {round}");
                }
            }
            let marks = pristine
                .marks
                .iter()
                .filter(|(place, _)| whole(file, place));
            marked.extend(marks.flat_map(|(_, ids)| ids));
        }
        let again = found.keys().find(|id| marked.contains(*id));
        assert_eq!(again, None, "is done, in round {round}");
        assert!(damaged > 0 || !harm.noticed, "unnoticed in round {round}");
        lost += live.keys().filter(|id| !found.contains_key(id)).count();
        noticed += usize::from(damaged > 0);
        let Pristine { path, bytes, .. } = &files[harm.file];
        fs::write(path, bytes).unwrap();
    }
    assert!(
        lost > 5_000 && noticed > 5_000,
        "{lost} lost, {noticed} noticed"
    );
}

#[tokio::test]
async fn a_damaged_spool_opens_and_goes_on_in_a_new_file() {
    let ground = Ground::new();
    let files = log(&ground).await;
    let Pristine { path, bytes, .. } = files.last().unwrap();
    let mut torn = bytes.clone();
    torn.truncate(bytes.len() - 5);
    torn.extend([0; 300]);
    fs::write(path, &torn).unwrap();
    let spool = ground.open();
    assert_eq!(ground.counted("callway_spool_damaged_total"), 1);
    let before = waiting(&spool);
    let ids = keep(&spool, Lane::Own, [61]).await;
    assert_eq!(ids, [61]);
    assert_eq!(fs::read(path).unwrap(), torn, "nothing was added to it");
    spool.close().await;
    let mut after = waiting(&ground.open());
    assert_eq!(after.remove(&61), Some(body(61)));
    assert_eq!(after, before);
}

#[tokio::test]
async fn rubbish_in_the_directory_is_left_alone() {
    let ground = Ground::new();
    let files = log(&ground).await;
    let (live, _) = recover(&ground);
    let rubbish: Vec<(&str, &[u8])> = vec![
        ("README", b"hello"),
        ("00000002-0000000000000000.log", b"not a log"),
        ("00000099-00000000deadbeef.log", &[0xff; 5000]),
        ("00000001-.log", b""),
        ("x.log", b"x"),
    ];
    for (name, bytes) in &rubbish {
        fs::write(ground.path().join(name), bytes).unwrap();
    }
    let folder = ground.path().join("00000003-0000000000000001.log");
    fs::create_dir(&folder).unwrap();
    let made_before_the_power_went = ground.path().join("00000100-0000000000000001.log");
    fs::write(&made_before_the_power_went, [0; 4096]).unwrap();
    // Another file of the log under the name of a third.
    fs::write(
        ground.path().join("00000004-0000000000000002.log"),
        &files[0].bytes,
    )
    .unwrap();
    let spool = ground.open();
    assert_eq!(waiting(&spool), live);
    keep(&spool, Lane::Own, [61]).await;
    spool.close().await;
    for (name, bytes) in rubbish {
        assert_eq!(fs::read(ground.path().join(name)).unwrap(), bytes, "{name}");
    }
    assert!(folder.is_dir() && !made_before_the_power_went.exists());
    assert_eq!(waiting(&ground.open()).len(), live.len() + 1);
}

#[tokio::test]
async fn a_record_forged_in_a_payload_is_never_taken_for_one() {
    let ground = Ground::new();
    let spool = ground.open();
    let mut forged = Vec::new();
    for salt in 0..200 {
        let record = record::Kept {
            id: 1,
            accepted: 0,
            lane: Lane::Own,
            queue: QUEUE,
            body: b"forged",
        };
        record::Seal::new(salt << 30).kept(&mut forged, &record);
    }
    let payload = Bytes::from(forged);
    let appended = spool.append(QUEUE, Lane::Own, payload.clone()).unwrap();
    appended.await.unwrap();
    keep(&spool, Lane::Own, [2]).await;
    assert_eq!(waiting(&spool)[&1], payload);
    spool.close().await;
    let path = ground.files().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes
        .windows(9)
        .position(|window| window == QUEUE.as_bytes());
    bytes[at.unwrap()] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(waiting(&ground.open()), bodies([2]));
}

#[tokio::test]
async fn a_record_that_is_damaged_meanwhile_is_stepped_over() {
    let ground = Ground::new();
    let spool = ground.open();
    let large = Bytes::from(vec![3; 3 * 1024]); // no room in memory
    let appended = spool.append(QUEUE, Lane::Named(1), large).unwrap();
    appended.await.unwrap();
    keep(&spool, Lane::Named(1), [2]).await;
    let path = ground.files().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[500] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(next(&mut spool.consume(QUEUE)).await.id, 2);
    assert_eq!(ground.counted("callway_spool_damaged_total"), 1);
    assert_eq!(spool.stats()[0].messages, 1);
}

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::spool::Lane;

const BYTES: u32 = 100;

fn entry(id: u64, lane: Lane) -> Entry {
    let place = Place {
        segment: 0,
        offset: 0,
        length: BYTES,
    };
    Entry::new(id, place, lane, 1000 * id)
}

fn queue(lanes: &[Lane]) -> Queue {
    let mut queue = Queue::new("calls".into());
    for (id, lane) in (1..).zip(lanes) {
        queue.push(entry(id, *lane));
    }
    queue
}

/// The ids that are handed out now, until nobody is next.
fn all(queue: &mut Queue, now: Instant) -> Vec<u64> {
    let mut ids = Vec::new();
    loop {
        match queue.take(now) {
            Taken::Entry { id, .. } => ids.push(id),
            Taken::GoOn => {}
            Taken::Nobody(_) => return ids,
        }
    }
}

#[test]
fn a_lane_that_waits_holds_up_only_itself() {
    let (one, two) = (Lane::Named(1), Lane::Named(2));
    let mut queue = queue(&[one, two, one, Lane::Own, two, Lane::Own]);
    let now = Instant::now();
    let due = now + Duration::from_secs(1);
    assert!(matches!(
        queue.take(now),
        Taken::Entry { id: 1, attempts: 0 }
    ));
    queue.give_back(1, Some(due));
    assert_eq!(all(&mut queue, now), [2, 4, 5, 6]);
    assert_eq!(queue.take(now), Taken::Nobody(Some(due)));
    assert!(matches!(
        queue.take(due),
        Taken::Entry { id: 1, attempts: 1 }
    ));
    assert!(matches!(
        queue.take(due),
        Taken::Entry { id: 3, attempts: 0 }
    ));
    assert_eq!(queue.take(due), Taken::Nobody(None));
}

#[test]
fn a_lane_by_itself_waits_for_no_other() {
    let mut queue = queue(&[Lane::Own; 3]);
    let now = Instant::now();
    assert_eq!(all(&mut queue, now), [1, 2, 3]);
    queue.give_back(3, None);
    queue.give_back(1, Some(now + Duration::from_secs(1)));
    queue.give_back(2, None);
    assert_eq!(all(&mut queue, now), [2, 3]);
    queue.retry_now();
    assert_eq!(all(&mut queue, now), [1]);
}

#[test]
fn very_many_are_passed_over_in_strides() {
    let mut lanes = vec![Lane::Named(1); 3 * STRIDE];
    lanes.push(Lane::Own);
    let mut queue = queue(&lanes);
    let now = Instant::now();
    assert!(matches!(queue.take(now), Taken::Entry { id: 1, .. }));
    queue.give_back(1, Some(now + Duration::from_secs(1)));
    for _ in 0..3 {
        assert_eq!(queue.take(now), Taken::GoOn);
    }
    assert!(matches!(queue.take(now), Taken::Entry { id, .. } if id == lanes.len() as u64));
}

#[test]
fn memory_follows_what_waits_also_behind_one_that_stays() {
    let mut queue = queue(&vec![Lane::Own; 100_000]);
    assert_eq!(all(&mut queue, Instant::now()).len(), 100_000);
    for id in 2..=100_000 {
        assert!(queue.remove(id).is_some());
        assert!(queue.remove(id).is_none(), "it is gone already");
    }
    assert_eq!(queue.messages(), 1);
    assert_eq!(queue.bytes(), u64::from(BYTES));
    assert_eq!(queue.oldest(), Some(1));
    assert!(queue.entries.len() <= LEFTOVERS + 2);
    assert!(queue.entries.capacity() <= 2 * ROOM);
}

#[test]
fn what_was_thrown_away_does_not_come_back() {
    let mut queue = queue(&[Lane::Named(1), Lane::Named(1), Lane::Own]);
    let now = Instant::now();
    assert!(matches!(queue.take(now), Taken::Entry { id: 1, .. }));
    assert!(matches!(queue.take(now), Taken::Entry { id: 2, .. }));
    queue.give_back(2, Some(now + Duration::from_secs(1)));
    assert_eq!(queue.clear().len(), 3);
    queue.give_back(1, None);
    assert!(queue.remove(1).is_none());
    assert_eq!(queue.take(now), Taken::Nobody(None));
    queue.push(entry(4, Lane::Named(1)));
    assert_eq!(all(&mut queue, now), [4]);
}

/// What the queue is to do, done by looking at everything each time.
#[derive(Default)]
struct Model {
    /// By id: the lane, and whether it is out.
    waiting: Vec<(u64, Lane, bool)>,
    waits: Vec<(Lane, u64, Instant)>,
}

impl Model {
    fn take(&mut self, now: Instant) -> Option<u64> {
        let held = |id: u64, lane: Lane| {
            self.waits.iter().any(|&(other, of, due)| {
                due > now && other == lane && (lane != Lane::Own || of == id)
            })
        };
        let mut free = self.waiting.iter().enumerate();
        let (at, _) = free.find(|(_, (id, lane, out))| !out && !held(*id, *lane))?;
        self.waiting[at].2 = true;
        Some(self.waiting[at].0)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(Lane),
    Take,
    Done(usize),
    GiveBack(usize),
    Later(usize, u64),
    Pass(u64),
    RetryNow,
}

fn step() -> impl Strategy<Value = Step> {
    let lane = prop_oneof![Just(Lane::Own), (0..4u64).prop_map(Lane::Named)];
    prop_oneof![
        4 => lane.prop_map(Step::Push),
        4 => Just(Step::Take),
        2 => any::<usize>().prop_map(Step::Done),
        1 => any::<usize>().prop_map(Step::GiveBack),
        2 => (any::<usize>(), 1..50u64).prop_map(|(which, ms)| Step::Later(which, ms)),
        1 => (1..30u64).prop_map(Step::Pass),
        1 => Just(Step::RetryNow),
    ]
}

proptest! {
    #[test]
    fn it_does_what_looking_at_everything_would(steps in prop::collection::vec(step(), 0..400)) {
        let (mut queue, mut model) = (queue(&[]), Model::default());
        let (mut now, mut next) = (Instant::now(), 1);
        let mut out: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Push(lane) => {
                    queue.push(entry(next, lane));
                    model.waiting.push((next, lane, false));
                    next += 1;
                }
                Step::Take => {
                    let id = loop {
                        match queue.take(now) {
                            Taken::Entry { id, .. } => break Some(id),
                            Taken::GoOn => {}
                            Taken::Nobody(_) => break None,
                        }
                    };
                    prop_assert_eq!(id, model.take(now));
                    out.extend(id);
                }
                Step::Done(which) if !out.is_empty() => {
                    let id = out.swap_remove(which % out.len());
                    prop_assert!(queue.remove(id).is_some());
                    model.waiting.retain(|(other, ..)| *other != id);
                }
                Step::GiveBack(which) | Step::Later(which, _) if !out.is_empty() => {
                    let id = out.swap_remove(which % out.len());
                    let due = match step {
                        Step::Later(_, ms) => Some(now + Duration::from_millis(ms)),
                        _ => None,
                    };
                    queue.give_back(id, due);
                    let given = model.waiting.iter_mut().find(|(other, ..)| *other == id);
                    let (_, lane, is_out) = given.unwrap();
                    *is_out = false;
                    model.waits.extend(due.map(|due| (*lane, id, due)));
                }
                Step::Pass(ms) => now += Duration::from_millis(ms),
                Step::RetryNow => {
                    queue.retry_now();
                    model.waits.clear();
                }
                Step::Done(_) | Step::GiveBack(_) | Step::Later(..) => {}
            }
            prop_assert_eq!(queue.messages(), model.waiting.len());
            prop_assert_eq!(queue.bytes(), u64::from(BYTES) * model.waiting.len() as u64);
            let oldest = model.waiting.first().map(|(id, ..)| *id as u32);
            prop_assert_eq!(queue.oldest(), oldest);
        }
    }
}

//! Who is given which calls, whatever the hosts say and when.

use bytes::Bytes;

use super::*;
use crate::call::Kind;
use crate::script::wire::End;

/// A floor of two cores with so many hosts, and calls that somebody waits for.
struct World {
    floor: Floor,
    waiting: Vec<oneshot::Receiver<Event>>,
}

fn finished() -> Finished {
    Finished {
        end: End::Value(Bytes::new()),
        log: Bytes::new(),
        response: None,
    }
}

impl World {
    fn new(hosts: u64) -> World {
        let mut floor = Floor {
            cores: 2,
            ..Floor::default()
        };
        for id in 0..hosts {
            // No process has this number, so there is nothing to be read about it.
            floor.hosts.insert(id, Host::new(u32::MAX));
            floor.hear(id, FromHost::Ready, Instant::now(), &mut News::new());
        }
        let waiting = Vec::new();
        World { floor, waiting }
    }

    fn call(&mut self, calls: usize) {
        self.call_with(calls, &[]);
    }

    fn call_with(&mut self, calls: usize, params: &[u8]) {
        let work = Work {
            params: Bytes::copy_from_slice(params),
            ..Work::default()
        };
        let script = Arc::new(Script {
            number: 1,
            path: "/a.lua".into(),
            source: "return 1".into(),
        });
        for _ in 0..calls {
            let (sender, receiver) = oneshot::channel();
            let mut job = Job::new(script.clone(), work.clone(), sender);
            self.floor.last_job += 1;
            job.work.id = self.floor.last_job;
            self.floor.queue.push_back(job);
            self.waiting.push(receiver);
        }
        self.floor.dispatch();
    }

    fn given(&self) -> Vec<usize> {
        let hosts = self.floor.hosts.values();
        hosts.map(|host| host.jobs.len()).collect()
    }
}

#[test]
fn calls_lie_on_as_many_hosts_as_there_are_cores() {
    let mut world = World::new(3);
    world.call(1);
    assert_eq!(world.given(), [1, 0, 0]);
    world.call(9);
    assert_eq!(world.given(), [5, 5, 0]);
    world.call(1000);
    let given = world.given();
    assert_eq!(given[0], given[1]);
    assert_eq!(given[2], 0);
    assert_eq!(world.floor.queue.len(), 1010 - 2 * given[0]);
    assert_eq!(
        world.floor.spare(),
        3,
        "none is slow, so no other is needed"
    );
}

#[test]
fn a_host_is_given_so_many_bytes_at_a_time() {
    let mut world = World::new(1);
    world.call_with(7, &[b' '; 400 << 10]);
    assert_eq!(world.given(), [3]);
    let (_, job) = world.floor.hosts.get_mut(&0).unwrap().take(1).unwrap();
    assert_eq!(job.work.id, 1);
    world.floor.dispatch();
    assert_eq!(world.given(), [3]);
}

#[test]
fn calls_that_come_back_late_leave_their_host_to_others() {
    let mut world = World::new(1);
    world.call(2);
    let patience = Patience {
        stop_after: Duration::from_secs(9),
        kill_after: Duration::from_secs(9),
        abandoned: Duration::from_secs(9),
        fair_share: Duration::ZERO,
    };
    while world.floor.hosts[&0].gets_on() {
        world.floor.sweep(&patience);
        std::thread::yield_now();
    }
    // Both were over before the host read that the second was to come back.
    let done = |id| FromHost::Done(id, Box::new(finished()));
    for frame in [done(1), done(2), FromHost::Returned(Vec::new())] {
        world
            .floor
            .hear(0, frame, Instant::now(), &mut News::new())
            .unwrap();
    }
    world.call(1);
    assert_eq!(world.given(), [1]);
}

#[test]
fn a_host_that_is_slow_is_given_less() {
    let mut world = World::new(1);
    world.call(200);
    assert_eq!(world.given(), [8], "nothing is known of it yet");
    for id in 1..=100 {
        let done = FromHost::Done(id, Box::new(finished()));
        world
            .floor
            .hear(0, done, Instant::now(), &mut News::new())
            .unwrap();
        world.floor.dispatch();
    }
    assert_eq!(world.given(), [100], "all there are: it is quick");
    let host = world.floor.hosts.get_mut(&0).unwrap();
    host.block();
    assert!(!host.gets_on());
    host.next(Instant::now());
    assert!(host.gets_on() && !host.has_room());
}

#[test]
fn what_a_script_had_done_is_not_done_again() {
    let mut world = World::new(1);
    world.call(3);
    let ask = FromHost::Ask(1, Ask::Call("a".into(), Bytes::new()));
    world
        .floor
        .hear(0, ask, Instant::now(), &mut News::new())
        .unwrap();
    let mut news = News::new();
    world
        .floor
        .bury(0, Fault::new(Kind::ScriptLimit, "crashed"), &mut news);
    let lost: Vec<_> = news.iter().map(|(job, _)| job.work.id).collect();
    assert_eq!(lost, [1]);
    assert_eq!(world.floor.queue.len(), 2);
}

#[test]
fn a_call_that_begins_after_its_caller_left_has_its_time_to_end() {
    let mut world = World::new(1);
    world.call(2);
    world.floor.cancel(2);
    let patience = Duration::from_millis(5);
    let cancelled = Instant::now();
    while cancelled.elapsed() < 2 * patience {
        std::thread::yield_now();
    }
    let done = FromHost::Done(1, Box::new(finished()));
    world
        .floor
        .hear(0, done, Instant::now(), &mut News::new())
        .unwrap();
    assert!(!world.floor.hosts[&0].is_abandoned(patience));
    while !world.floor.hosts[&0].is_abandoned(patience) {
        std::thread::yield_now();
    }
}

#[test]
fn another_host_stands_in_for_one_that_is_late() {
    let mut world = World::new(3);
    world.call(4);
    while !world.floor.hosts[&1].is_late(Instant::now()) {
        std::thread::yield_now();
    }
    world.call(2);
    assert_eq!(world.given(), [2, 2, 2]);
    assert_eq!(world.floor.spare(), 3, "they may only be kept from running");
    let patience = Patience {
        stop_after: Duration::from_secs(1),
        kill_after: Duration::from_secs(1),
        abandoned: Duration::from_secs(1),
        fair_share: Duration::ZERO,
    };
    // Where the kernel says nothing about them, they are taken for slow.
    assert!(world.floor.sweep(&patience));
    assert_eq!(world.floor.spare(), 1);
    world.floor.hear(
        0,
        FromHost::Returned(vec![3]),
        Instant::now(),
        &mut News::new(),
    );
    world.floor.dispatch();
    assert_eq!(world.given(), [1, 2, 3]);
}

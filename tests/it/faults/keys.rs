//! Calls with idempotency keys, some of them twice, while callway is killed: each is carried out
//! once.

mod callers;
mod responder;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::callers::{Caller, Outcome, Socket, Web};
use self::responder::Responder;
use super::ledger::Sum;
use super::report::{self, either};
use crate::support::Setup;

/// Callers that work side by side.
const CALLERS: usize = 32;
/// One key in so many is used again.
const AGAIN: usize = 10;
/// All calls together.
const ALL: Duration = Duration::from_secs(1800);

/// What all callers share.
#[derive(Default)]
struct Work {
    next: AtomicUsize,
    settled: AtomicUsize,
    /// The outcomes of each key, one for each use.
    outcomes: Mutex<BTreeMap<usize, Vec<Outcome>>>,
}

#[tokio::test]
async fn a_key_is_carried_out_once() {
    let keys = either(2000, 100_000);
    let kills = either(3, 50);
    let start = Instant::now();
    let responder = Responder::start().await;
    let url = format!("http://{}/", responder.address());
    let route = format!("[[route]]\nmethod = \"work\"\nhttp = {{ url = \"{url}\" }}");
    let mut daemon = Setup::new().config(&route).start().await;
    let work = Arc::new(Work::default());
    let calls = Arc::default();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(work_off(
            work.clone(),
            keys,
            daemon.address,
            Arc::clone(&calls),
        ));
    }
    for kill in 1..=kills {
        let due = keys * kill / (kills + 1);
        crate::eventually!(work.settled.load(Ordering::Relaxed) >= due, within ALL);
        daemon.restart().await;
    }
    let ended = timeout(ALL, callers.join_all()).await;
    ended.expect("calls go unanswered");

    let sum = add_up(&work, &responder, calls.load(Ordering::Relaxed));
    report::line("keyed calls", "ws, HTTP", &sum, start);
    let unknown = keys - sum.acknowledged;
    println!("{unknown} with an unknown outcome");
    assert_eq!(sum.lost, 0, "answered and never carried out");
    assert_eq!(sum.duplicates, 0, "carried out twice");
    assert!(
        unknown <= CALLERS * kills,
        "{unknown} are more than were under way"
    );
}

/// Takes one key after the other: most are used once, by the one transport or the other; some by
/// both, at once or one after the other.
async fn work_off(work: Arc<Work>, keys: usize, callway: SocketAddr, calls: Arc<AtomicUsize>) {
    let mut socket = Caller::new(Socket::new(callway), &calls);
    let mut web = Caller::new(Web::new(callway), &calls);
    loop {
        let key = work.next.fetch_add(1, Ordering::Relaxed);
        if key >= keys {
            return;
        }
        let outcomes = match key % (2 * AGAIN) {
            0 => {
                let (one, other) = tokio::join!(socket.insist(key), web.insist(key));
                vec![one, other]
            }
            AGAIN => vec![socket.insist(key).await, web.insist(key).await],
            odd if odd % 2 == 1 => vec![socket.insist(key).await],
            _ => vec![web.insist(key).await],
        };
        work.outcomes.lock().insert(key, outcomes);
        work.settled.fetch_add(1, Ordering::Relaxed);
    }
}

/// Compares what the callers were told with what was carried out.
fn add_up(work: &Work, responder: &Responder, calls: usize) -> Sum {
    let mut sum = Sum {
        attempts: calls,
        delivered: responder.keys(),
        ..Sum::default()
    };
    for (key, outcomes) in work.outcomes.lock().iter() {
        let executions = responder.executions(*key);
        let results = outcomes
            .iter()
            .filter(|outcome| **outcome != Outcome::Unknown);
        let results: Vec<_> = results.collect();
        let same = results.windows(2).all(|pair| pair[0] == pair[1]);
        assert!(same, "key {key} has different results: {results:?}");
        let answered = !results.is_empty();
        sum.acknowledged += usize::from(answered);
        sum.lost += usize::from(answered && executions == 0);
        sum.duplicates += executions.saturating_sub(1);
    }
    sum
}

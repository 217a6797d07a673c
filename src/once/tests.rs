//! A key makes a method run once, whoever comes back for the outcome.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::auth::{Caller, Grants, Token, digest};
use crate::call::{CallId, Deadline, Payload, Reply, Via};
use crate::observe::Metrics;

/// Calls that may run at once.
const MOST: usize = 8;

struct World {
    directory: tempfile::TempDir,
    once: Once,
    runs: Arc<AtomicU32>,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        World {
            once: open(&directory),
            directory,
            runs: Arc::default(),
        }
    }

    /// Calls with a key; `outcome` is what the method comes to if it is carried out.
    async fn call(&self, key: &str, params: &'static str, outcome: Outcome) -> Outcome {
        let runs = self.runs.clone();
        let work = move || async move {
            runs.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            outcome
        };
        self.once
            .run(&call(params), &Arc::from(key), false, work)
            .await
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::Relaxed)
    }
}

fn open(directory: &tempfile::TempDir) -> Once {
    let path = directory.path().join("callway.db");
    let metrics = Arc::new(Metrics::new());
    let store = Store::open(&path, &metrics).unwrap();
    let limits = Limits {
        in_flight: MOST,
        ..Limits::default()
    };
    Once::new(store, &limits, metrics, TaskTracker::new())
}

fn call(params: &'static str) -> Call {
    let token = Token {
        name: "tester".into(),
        digest: digest("token"),
        grants: Grants::default(),
        admin: false,
    };
    Call {
        id: CallId::new(),
        method: "pay".into(),
        params: Payload::json(params),
        caller: Caller::new(Arc::new(token)),
        via: Via::Ws,
        deadline: Deadline::after(Duration::from_secs(5)),
        hops: 0,
        traceparent: None,
        key: None,
        http: None,
        progress: None,
    }
}

fn ok(text: &'static str) -> Outcome {
    Ok(Reply::new(Payload::json(text)))
}

fn text(outcome: Outcome) -> String {
    match outcome {
        Ok(reply) => reply.payload.as_json().into_owned(),
        Err(fault) => fault.kind.to_string(),
    }
}

#[tokio::test]
async fn a_repeat_gets_the_first_outcome() {
    let world = World::new();
    assert_eq!(
        text(world.call("k", "1", ok("{ \"n\": 1 }")).await),
        "{ \"n\": 1 }"
    );
    assert_eq!(text(world.call("k", "1", ok("2")).await), "{ \"n\": 1 }");
    assert_eq!(text(world.call("other", "1", ok("3")).await), "3");
    assert_eq!(world.runs(), 2);
    let again = World {
        once: open(&world.directory),
        ..world
    };
    assert_eq!(text(again.call("k", "1", ok("4")).await), "{ \"n\": 1 }");
    assert_eq!(again.runs(), 2, "not across a restart either");
}

#[tokio::test]
async fn repeats_at_the_same_time_wait_for_the_first() {
    let world = World::new();
    let calls = (0..50).map(|_| world.call("k", "1", ok("1")));
    for outcome in futures_util::future::join_all(calls).await {
        assert_eq!(text(outcome), "1");
    }
    assert_eq!(world.runs(), 1);
    assert!(world.once.0.running.lock().is_empty());
}

#[tokio::test]
async fn other_params_are_another_call() {
    let world = World::new();
    assert_eq!(text(world.call("k", "1", ok("1")).await), "1");
    let refused = world.call("k", "2", ok("2")).await.unwrap_err();
    assert_eq!(
        (refused.kind, refused.status()),
        (Kind::InvalidRequest, 422)
    );
    let long = "k".repeat(256);
    assert_eq!(
        text(world.call(&long, "1", ok("1")).await),
        "invalid_request"
    );
    assert_eq!(world.runs(), 1);
}

#[tokio::test]
async fn what_may_go_better_is_tried_again() {
    let world = World::new();
    let away = Err(Fault::unavailable("link_down", "away"));
    assert_eq!(text(world.call("k", "1", away).await), "unavailable");
    assert_eq!(text(world.call("k", "1", ok("1")).await), "1");
    let failed = Err(Fault::new(Kind::ScriptError, "on purpose"));
    assert_eq!(text(world.call("s", "1", failed).await), "script_error");
    assert_eq!(text(world.call("s", "1", ok("1")).await), "script_error");
    assert_eq!(world.runs(), 3);
}

#[tokio::test]
async fn a_call_goes_on_when_its_caller_goes_away() {
    let world = World::new();
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let work = move || async move {
        gone.await.ok();
        ok("done")
    };
    let (asked, key) = (call("1"), Arc::from("k"));
    let first = world.once.run(&asked, &key, false, work);
    assert!(
        futures_util::poll!(Box::pin(first)).is_pending(),
        "and is dropped"
    );
    go.send(()).unwrap();
    assert_eq!(text(world.call("k", "1", ok("2")).await), "done");
}

#[tokio::test]
async fn calls_whose_callers_went_away_are_bounded() {
    let world = World::new();
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    for number in 0..MOST {
        let go = go.clone();
        let work = move || async move {
            go.acquire().await.unwrap().forget();
            ok("done")
        };
        let (asked, key) = (call("1"), Arc::from(format!("k{number}")));
        let left = world.once.run(&asked, &key, false, work);
        assert!(
            futures_util::poll!(Box::pin(left)).is_pending(),
            "and is dropped"
        );
    }
    let fault = world.call("new", "1", ok("1")).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Overloaded);
    assert_eq!(fault.retry_after, Some(Duration::from_secs(1)));
    let joins = world.call("k0", "1", ok("2"));
    let goes = async { go.add_permits(MOST) };
    let (joined, ()) = tokio::join!(joins, goes);
    assert_eq!(text(joined), "done");
    while !world.once.0.running.lock().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(text(world.call("new", "1", ok("1")).await), "1");
}

#[tokio::test]
async fn a_call_that_ended_with_the_process_is_not_repeated() {
    let world = World::new();
    let name = KeyName {
        caller: "tester".into(),
        method: "pay".into(),
        key: "k".into(),
    };
    let begun =
        world
            .once
            .0
            .store
            .begin_key(&name, fingerprint(b"1", false), Duration::from_secs(9));
    assert_eq!(begun.await.unwrap(), Begun::Fresh);
    let again = World {
        once: open(&world.directory),
        ..world
    };
    assert_eq!(text(again.call("k", "1", ok("1")).await), "unavailable");
    assert_eq!(again.runs(), 0);
}

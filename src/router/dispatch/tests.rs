//! The dispatcher's promises: the order of its checks, exactly one outcome, nothing left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;

use super::Dispatcher;
use crate::auth::{Caller, Grants, Token, digest};
use crate::call::{Call, CallId, Deadline, Fault, Kind, Outcome, Payload, Reply, Via};
use crate::config::{Limits, Retry, Route, RouteTarget, Schema};
use crate::observe::Metrics;
use crate::once::Once;
use crate::oneway::OneWay;
use crate::router::{Captures, Pattern, Table};
use crate::spool::Spool;
use crate::store::Store;
use crate::target::Target;

/// Does what the called method is named after.
#[derive(Default)]
struct Actor {
    asked: AtomicU32,
}

impl Target for Actor {
    fn call<'a>(&'a self, call: &'a Call, _captures: &'a Captures) -> BoxFuture<'a, Outcome> {
        async move {
            let asked = self.asked.fetch_add(1, Ordering::Relaxed);
            match &*call.method {
                "panics" => panic!("on purpose"),
                "hangs" => std::future::pending().await,
                "comes/back" if asked < 2 => Err(Fault::unavailable("test", "not yet")),
                "handed/over" => Err(Fault::unavailable("test", "maybe done").handed_over()),
                _ => Ok(Reply::new(Payload::from_value(&"done"))),
            }
        }
        .boxed()
    }
}

struct World {
    dispatcher: Arc<Dispatcher>,
    _state: tempfile::TempDir,
    actor: Arc<Actor>,
    caller: Caller,
}

fn dispatcher(table: Table, state: &std::path::Path) -> Dispatcher {
    let (limits, metrics) = (Limits::default(), Arc::new(Metrics::new()));
    let store = Store::open(&state.join("callway.db"), &metrics).unwrap();
    let spool = Spool::open(&state.join("spool"), &limits, &metrics).unwrap();
    let once = Once::new(store.clone(), &limits, metrics.clone(), TaskTracker::new());
    let oneway = Arc::new(OneWay::new(spool, store));
    Dispatcher::new(table, limits, metrics, once, oneway)
}

impl World {
    /// Every method may be called but `secret/…`; `route` may change each row.
    fn new(route: impl Fn(&mut Route)) -> World {
        let actor = Arc::new(Actor::default());
        let mut table = Table::default();
        for pattern in ["panics", "hangs", "works", "comes/back", "handed/over"] {
            let mut row = Route {
                pattern: Pattern::parse(pattern).unwrap(),
                target: RouteTarget::Worker,
                timeout: None,
                retry: None,
                rate: None,
                concurrency: None,
                queue: 0,
                max_params: 1000,
                schema: Schema::default(),
                description: None,
                get: false,
                one_way: false,
            };
            route(&mut row);
            table.add(Arc::new(row), actor.clone());
        }
        let patterns = [
            "panics",
            "hangs",
            "works",
            "comes/back",
            "handed/over",
            "no/route",
        ];
        let grants = Grants {
            call: patterns.map(|text| Pattern::parse(text).unwrap()).into(),
            ..Grants::default()
        };
        let token = Token {
            name: "tester".into(),
            digest: digest("token"),
            grants,
            admin: false,
        };
        let state = tempfile::tempdir().unwrap();
        World {
            dispatcher: Arc::new(dispatcher(table, state.path())),
            _state: state,
            actor,
            caller: Caller::new(Arc::new(token)),
        }
    }

    fn make(&self, method: &str) -> Call {
        Call {
            id: CallId::new(),
            method: method.into(),
            params: Payload::null(),
            caller: self.caller.clone(),
            via: Via::Ws,
            deadline: Deadline::after(Duration::from_secs(5)),
            hops: 0,
            traceparent: None,
            key: None,
            http: None,
            progress: None,
        }
    }

    async fn kind(&self, method: &str) -> Option<Kind> {
        let outcome = self.dispatcher.call(self.make(method)).await;
        outcome.err().map(|fault| fault.kind)
    }

    fn asked(&self) -> u32 {
        self.actor.asked.load(Ordering::Relaxed)
    }
}

/// Hundreds wait at once, and past this size memory is dearer to get.
#[test]
fn a_call_that_waits_takes_up_less_than_a_kilobyte() {
    let world = World::new(|_| {});
    let size = size_of_val(&world.dispatcher.call(world.make("works")));
    assert!(size < 1024, "{size}");
}

#[tokio::test(start_paused = true)]
async fn checks_come_in_their_order() {
    let world = World::new(|_| {});
    assert_eq!(world.kind("a//b").await, Some(Kind::InvalidRequest));
    assert_eq!(world.kind("callway.x").await, Some(Kind::InvalidRequest));
    // Whether or not there is a route: who may not call does not learn it.
    assert_eq!(world.kind("secret/thing").await, Some(Kind::Forbidden));
    assert_eq!(world.kind("no/route").await, Some(Kind::MethodNotFound));

    let mut call = world.make("works");
    call.hops = 9;
    call.params = Payload::unchecked_json("[".repeat(2000));
    let fault = world.dispatcher.call(call.clone()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::InvalidRequest, "hops before size");
    assert_eq!(fault.call_id, Some(call.id), "a fault names its call");
    call.hops = 8;
    let fault = world.dispatcher.call(call.clone()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::TooLarge, "size before form");
    call.params = Payload::unchecked_json("[");
    let fault = world.dispatcher.call(call.clone()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::ParseError);
    call.params = Payload::unchecked_json("[".repeat(200));
    let fault = world.dispatcher.call(call).await.unwrap_err();
    assert_eq!(fault.kind, Kind::ParseError, "the params are too deep");
    for limit in ["hops", "params", "json_depth"] {
        let counted = format!("limit_reached_total{{limit=\"{limit}\"}} 1\n");
        assert!(world.dispatcher.metrics.render().contains(&counted));
    }
    let mut late = world.make("works");
    late.deadline = Deadline::from_unix_ms(0);
    let fault = world.dispatcher.call(late).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Timeout);
    assert_eq!(world.asked(), 0, "the target never heard of any of them");
    assert_eq!(world.kind("works").await, None);
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_there_is_one_outcome() {
    let world = World::new(|_| {});
    assert_eq!(world.kind("panics").await, Some(Kind::Internal));
    assert_eq!(world.kind("hangs").await, Some(Kind::Timeout));
    assert_eq!(world.dispatcher.in_flight(), 0);

    // Gone before it was done: the caller dropped it.
    let gone = tokio::time::timeout(Duration::from_secs(1), world.kind("hangs"));
    assert!(gone.await.is_err());
    assert_eq!(world.dispatcher.in_flight(), 0);

    let (cut, ()) = tokio::join!(world.kind("hangs"), async {
        tokio::task::yield_now().await;
        assert_eq!(world.dispatcher.in_flight(), 1);
        world.dispatcher.drain();
        assert_eq!(world.kind("works").await, Some(Kind::ShuttingDown));
        world.dispatcher.cut_off();
    });
    assert_eq!(cut, Some(Kind::ShuttingDown));
    assert_eq!(world.dispatcher.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_was_not_handed_over_is_tried_again() {
    let retry = Retry {
        attempts: 3,
        backoff: Duration::from_millis(10),
    };
    let world = World::new(|route| route.retry = Some(retry));
    assert_eq!(world.kind("comes/back").await, None);
    assert_eq!(world.asked(), 3);
    assert_eq!(world.kind("handed/over").await, Some(Kind::Unavailable));
    assert_eq!(world.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_schema_says_where_it_refuses_and_repeats_no_value() {
    let schema = serde_json::json!({
        "properties": { "a": { "type": "integer" } }, "additionalProperties": false,
    });
    let world = World::new(|route| {
        route.max_params = 100_000;
        route.schema.params = jsonschema::validator_for(&schema).ok().map(Arc::new);
    });
    let long = "secret".repeat(1000);
    let params = [
        (serde_json::json!({ "a": long }), "/a"),
        (serde_json::json!({ "a": 1, (long.as_str()): 2 }), ""),
    ];
    for (params, path) in params {
        let mut call = world.make("works");
        call.params = Payload::from_value(&params);
        let fault = world.dispatcher.call(call).await.unwrap_err();
        assert_eq!(fault.kind, Kind::InvalidParams);
        assert_eq!(
            fault.data.as_deref(),
            Some(format!(r#"{{"path":"{path}"}}"#).as_bytes())
        );
        assert!(fault.message.chars().count() <= 301, "{}", fault.message);
        assert_eq!(path == "/a", !fault.message.contains("secret"));
    }
    assert_eq!(world.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_busy_method_queues_and_then_refuses() {
    let world = World::new(|route| {
        route.concurrency = Some(1);
        route.queue = 1;
    });
    let start = tokio::time::Instant::now();
    let (first, second, third) = tokio::join!(
        world.kind("hangs"),
        world.kind("hangs"),
        world.kind("hangs")
    );
    assert_eq!(first, Some(Kind::Timeout));
    assert_eq!(
        second,
        Some(Kind::Timeout),
        "its deadline went on while it waited"
    );
    assert_eq!(third, Some(Kind::Overloaded));
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(
        world.kind("works").await,
        None,
        "other methods have places of their own"
    );
}

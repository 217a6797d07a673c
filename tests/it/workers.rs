//! Workers: connected clients that answer methods.

use std::time::Duration;

use serde_json::{Value, json};

use crate::eventually;
use crate::support::{Daemon, POWERLESS, Setup, Ws};

const ROUTES: &str = r#"
    [[route]]
    method = "vision/{path...}"
    worker = {}
    [[route]]
    method = "brief"
    worker = {}
    timeout = "300ms"
"#;

async fn daemon() -> Daemon {
    Setup::new().config(ROUTES).start().await
}

/// A client that offered methods.
async fn worker(daemon: &Daemon, offer: Value) -> Ws {
    let mut worker = daemon.ws().await;
    worker.call("callway.serve", offer).await.unwrap();
    worker
}

/// The next call that is put to a worker.
async fn asked(worker: &mut Ws) -> Value {
    worker.find(|message| message.get("method").is_some()).await
}

async fn answer(worker: &mut Ws, ask: &Value, member: &str, value: Value) {
    let response = json!({"jsonrpc": "2.0", "id": ask["id"], member: value});
    worker.send(response.to_string()).await;
}

async fn decline(worker: &mut Ws, ask: &Value, code: i64) {
    let error = json!({"code": code, "message": "not me"});
    answer(worker, ask, "error", error).await;
}

#[tokio::test]
async fn a_lost_worker_is_a_fault_at_once() {
    let daemon = daemon().await;
    let mut worker = worker(&daemon, json!({"methods": ["vision/{x...}"]})).await;
    let mut caller = daemon.ws().await;
    let id = caller.request("vision/count", json!({})).await;
    asked(&mut worker).await;
    drop(worker);
    let fault = caller.response(id).await["error"]["data"].take();
    assert_eq!(fault["kind"], "unavailable");
    assert_eq!(fault["detail"]["reason"], "worker_lost");
    let after = caller.call("vision/count", json!({})).await;
    assert_eq!(after, Err("no_responder".into()));
}

#[tokio::test]
async fn who_says_not_me_is_followed_by_the_next() {
    let daemon = daemon().await;
    let mut exact = worker(&daemon, json!({"methods": ["vision/count"]})).await;
    let mut wide = worker(&daemon, json!({"methods": ["vision/{x...}"]})).await;
    let mut caller = daemon.ws().await;

    let id = caller.request("vision/count", json!([1])).await;
    let ask = asked(&mut exact).await;
    decline(&mut exact, &ask, -32601).await;
    let ask = asked(&mut wide).await;
    answer(&mut wide, &ask, "result", json!("wide")).await;
    assert_eq!(caller.response(id).await["result"], "wide");

    for (code, kind) in [(-32601, "no_responder"), (-32006, "overloaded")] {
        let id = caller.request("vision/count", json!([1])).await;
        let ask = asked(&mut exact).await;
        decline(&mut exact, &ask, code).await;
        let ask = asked(&mut wide).await;
        decline(&mut wide, &ask, code).await;
        assert_eq!(caller.response(id).await["error"]["data"]["kind"], kind);
    }
}

#[tokio::test]
async fn any_other_error_is_the_answer() {
    let daemon = daemon().await;
    let mut worker = worker(&daemon, json!({"methods": ["vision/{x...}"]})).await;
    let mut caller = daemon.ws().await;
    let id = caller.request("vision/count", json!({})).await;
    let ask = asked(&mut worker).await;
    let error = json!({"code": 7, "message": "no camera", "data": {"camera": 3}});
    answer(&mut worker, &ask, "error", error.clone()).await;
    let fault = caller.response(id).await["error"]["data"].take();
    assert_eq!(
        (&fault["kind"], &fault["detail"]),
        (&json!("target_error"), &error)
    );
}

#[tokio::test]
async fn a_worker_gets_the_call_and_its_deadline() {
    let daemon = daemon().await;
    let mut worker = worker(&daemon, json!({"methods": ["vision/{x...}"]})).await;
    let mut caller = daemon.ws().await;
    let request = json!({"jsonrpc": "2.0", "id": "x", "method": "vision/count",
                         "params": {"n": 1}, "timeout": "5s"});
    caller.send(request.to_string()).await;
    let ask = asked(&mut worker).await;
    assert_eq!(
        (&ask["jsonrpc"], &ask["method"]),
        (&json!("2.0"), &json!("vision/count"))
    );
    assert_eq!(ask["params"], json!({"n": 1}));
    assert_eq!(ask["call_id"].as_str().unwrap().len(), 36);
    let left: u64 = ask["timeout"]
        .as_str()
        .unwrap()
        .trim_end_matches("ms")
        .parse()
        .unwrap();
    assert!((4000..=5000).contains(&left), "{left} ms");

    let text = daemon.http().header("content-type", "text/plain");
    let sending = tokio::spawn(async move { text.send("POST", "/api/vision/say", b"hi").await });
    let ask = asked(&mut worker).await;
    assert_eq!(ask["params"], json!(["hi"]), "no structure, so one element");
    answer(&mut worker, &ask, "result", json!(null)).await;
    assert_eq!(sending.await.unwrap().status, 200);
}

#[tokio::test]
async fn the_least_busy_is_asked_and_none_beyond_its_concurrency() {
    let daemon = daemon().await;
    let offer = json!({"methods": ["vision/{x...}"], "concurrency": 1});
    let mut one = worker(&daemon, offer.clone()).await;
    let mut two = worker(&daemon, offer).await;
    let mut caller = daemon.ws().await;
    let first = caller.request("vision/a", json!([1])).await;
    let second = caller.request("vision/a", json!([2])).await;
    let (one_ask, two_ask) = (asked(&mut one).await, asked(&mut two).await);
    let third = caller.call("vision/a", json!([3])).await;
    assert_eq!(third, Err("overloaded".into()));
    answer(&mut two, &two_ask, "result", json!(2)).await;
    assert_eq!(caller.response(second).await["result"], 2);
    let fourth = caller.request("vision/a", json!([4])).await;
    let two_ask = asked(&mut two).await;
    answer(&mut two, &two_ask, "result", json!(4)).await;
    assert_eq!(caller.response(fourth).await["result"], 4);
    answer(&mut one, &one_ask, "result", json!(1)).await;
    assert_eq!(caller.response(first).await["result"], 1);
}

#[tokio::test]
async fn a_worker_is_told_when_nobody_waits_any_more() {
    let daemon = daemon().await;
    let mut worker = worker(&daemon, json!({"methods": ["vision/{x...}", "brief"]})).await;
    let told = |ask: &Value| json!({"jsonrpc": "2.0", "method": "callway.cancel", "params": {"id": ask["id"]}});

    let mut caller = daemon.ws().await;
    let id = caller.request("vision/a", json!({})).await;
    let ask = asked(&mut worker).await;
    let cancelled = caller.call("callway.cancel", json!({"id": id})).await;
    assert_eq!(cancelled, Ok(json!({"cancelled": true})));
    assert_eq!(
        caller.response(id).await["error"]["data"]["kind"],
        "cancelled"
    );
    assert_eq!(asked(&mut worker).await, told(&ask), "cancelled");

    caller.request("vision/a", json!({})).await;
    let ask = asked(&mut worker).await;
    drop(caller);
    assert_eq!(asked(&mut worker).await, told(&ask), "gone");

    let mut caller = daemon.ws().await;
    let id = caller.request("brief", json!({})).await;
    let ask = asked(&mut worker).await;
    assert_eq!(
        caller.response(id).await["error"]["data"]["kind"],
        "timeout"
    );
    assert_eq!(asked(&mut worker).await, told(&ask), "timed out");
    answer(&mut worker, &ask, "result", json!("late")).await;
    answer(
        &mut worker,
        &json!({"id": 999_999}),
        "result",
        json!("made up"),
    )
    .await;
    let dropped = r#"callway_dropped_total{via="ws",reason="late_reply"}"#;
    eventually!(daemon.metric(dropped).await == 2.0);
    assert!(caller.is_quiet(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn a_second_answer_reaches_nobody() {
    let daemon = daemon().await;
    let mut worker = worker(&daemon, json!({"methods": ["vision/{x...}"]})).await;
    let mut caller = daemon.ws().await;
    let id = caller.request("vision/a", json!({})).await;
    let ask = asked(&mut worker).await;
    answer(&mut worker, &ask, "result", json!(1)).await;
    answer(&mut worker, &ask, "result", json!(2)).await;
    assert_eq!(caller.response(id).await["result"], 1);
    assert!(caller.is_quiet(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn interim_news_reach_the_caller_under_its_own_id() {
    let daemon = daemon().await;
    let mut worker = worker(&daemon, json!({"methods": ["vision/{x...}"]})).await;
    let mut caller = daemon.ws().await;
    let mut under_way = Vec::new();
    for method in ["vision/a", "vision/b"] {
        let id = caller.request(method, json!({})).await;
        under_way.push((id, asked(&mut worker).await));
    }
    let news = |ask: &Value, data: Value| {
        let params = json!({"id": ask["id"], "data": data});
        json!({"jsonrpc": "2.0", "method": "callway.progress", "params": params}).to_string()
    };
    for (id, ask) in under_way.iter().rev() {
        worker.send(news(ask, json!({"percent": 50}))).await;
        let params = asked(&mut caller).await["params"].take();
        assert_eq!(params, json!({"id": id, "data": {"percent": 50}}));
    }
    for (id, ask) in under_way {
        answer(&mut worker, &ask, "result", json!("done")).await;
        assert_eq!(caller.response(id).await["result"], "done");
        worker.send(news(&ask, json!("too late"))).await;
    }
    assert!(caller.is_quiet(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn a_worker_stays_through_a_drain_for_as_long_as_it_is_needed() {
    let mut daemon = daemon().await;
    let mut worker = worker(&daemon, json!({"methods": ["vision/{x...}"]})).await;
    let http = daemon.http();
    let calling = tokio::spawn(async move { http.post("/api/vision/a", &json!({})).await });
    let ask = asked(&mut worker).await;
    daemon.signal(rustix::process::Signal::TERM);
    eventually!(daemon.log().contains("drain"));
    assert!(worker.is_quiet(Duration::from_millis(100)).await);
    answer(&mut worker, &ask, "result", json!("in time")).await;
    let reply = calling.await.unwrap();
    assert_eq!((reply.status, reply.json()), (200, json!("in time")));
    assert_eq!(worker.close_code().await, 1001);
    assert!(daemon.ended().await.success());
}

#[tokio::test]
async fn a_client_may_call_itself() {
    let daemon = daemon().await;
    let mut client = worker(&daemon, json!({"methods": ["vision/{x...}"]})).await;
    let id = client.request("vision/a", json!({"n": 1})).await;
    let ask = asked(&mut client).await;
    let params = ask["params"].clone();
    answer(&mut client, &ask, "result", params).await;
    assert_eq!(client.response(id).await["result"], json!({"n": 1}));
}

#[tokio::test]
async fn an_offer_needs_its_grant_and_can_be_withdrawn() {
    let daemon = daemon().await;
    let mut powerless = Ws::connect(&daemon.ws_url("/rpc"), POWERLESS).await;
    let offer = json!({"methods": ["vision/{x...}"]});
    let refused = powerless.call("callway.serve", offer.clone()).await;
    assert_eq!(refused, Err("forbidden".into()));
    for broken in [
        json!({"methods": ["a//b"]}),
        json!({"methods": ["callway.whoami"]}),
        json!({"methods": "vision"}),
        json!({"methods": [], "concurrency": 0}),
        json!([]),
    ] {
        let refused = powerless.call("callway.serve", broken.clone()).await;
        assert_eq!(refused, Err("invalid_params".into()), "{broken}");
    }

    let mut worker = worker(&daemon, offer).await;
    let mut caller = daemon.ws().await;
    let id = caller.request("vision/a", json!({})).await;
    let ask = asked(&mut worker).await;
    worker
        .call("callway.serve", json!({"methods": []}))
        .await
        .unwrap();
    let after = caller.call("vision/a", json!({})).await;
    assert_eq!(after, Err("no_responder".into()));
    answer(&mut worker, &ask, "result", json!("still mine")).await;
    assert_eq!(caller.response(id).await["result"], "still mine");
}

#[tokio::test]
async fn a_result_that_cannot_travel_is_an_error_of_the_worker() {
    let daemon = daemon().await;
    let mut worker = worker(&daemon, json!({"methods": ["vision/{x...}"]})).await;
    let mut caller = daemon.ws().await;
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    for result in [deep.as_str(), r#""\ud800""#, "1e999"] {
        let id = caller.request("vision/a", json!({})).await;
        let ask = asked(&mut worker).await;
        let response = format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
            ask["id"]
        );
        worker.send(response).await;
        let kind = caller.response(id).await["error"]["data"]["kind"].take();
        assert_eq!(kind, "target_error", "{result:.20}");
    }
}

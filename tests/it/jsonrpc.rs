//! The dialect jsonrpc, as a client sees it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Daemon, Setup, Ws};

const ROUTES: &str = r#"
    [[route]]
    method = "echo/{path...}"
    worker = {}
    [limits]
    batch = 5
    in_flight_per_connection = 3
"#;

/// A daemon and a worker that gives back the params of `echo/now` and lets others wait.
async fn world() -> (Daemon, tokio::task::JoinHandle<()>) {
    let daemon = Setup::new().config(ROUTES).start().await;
    let mut worker = daemon.ws().await;
    let offer = json!({"methods": ["echo/{path...}"], "concurrency": 100});
    worker.call("callway.serve", offer).await.unwrap();
    let echoing = tokio::spawn(async move {
        loop {
            let ask = worker.next_ever().await;
            if ask["method"] == "echo/now" {
                let answer = json!({"jsonrpc": "2.0", "id": ask["id"], "result": ask["params"]});
                worker.send(answer.to_string()).await;
            }
        }
    });
    (daemon, echoing)
}

/// What a text is answered by.
async fn said(client: &mut Ws, text: &str) -> Value {
    client.send(text).await;
    client.next().await
}

fn kind(response: &Value) -> (&Value, &str) {
    let kind = response["error"]["data"]["kind"].as_str();
    (&response["id"], kind.unwrap_or("none"))
}

#[tokio::test]
async fn what_is_no_call_is_refused_and_the_connection_lives_on() {
    let (daemon, _worker) = world().await;
    let mut client = daemon.ws().await;
    let deep = "[".repeat(100_000);
    let call = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo/now","params":{params}}}"#)
    };
    for (text, id, want) in [
        ("{", json!(null), "parse_error"),
        ("hello", json!(null), "parse_error"),
        (deep.as_str(), json!(null), "parse_error"),
        ("5", json!(null), "invalid_request"),
        ("[]", json!(null), "invalid_request"),
        (r#"{"jsonrpc":"2.0","id":1}"#, json!(1), "invalid_request"),
        (
            r#"{"jsonrpc":"2.0","method":1,"id":1}"#,
            json!(1),
            "invalid_request",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"a","id":{}}"#,
            json!(null),
            "invalid_request",
        ),
        (&call("5"), json!(1), "invalid_request"),
        (
            &call(&format!("{deep}{}", "]".repeat(100_000))),
            json!(1),
            "parse_error",
        ),
        (&call(r#"["\ud800"]"#), json!(1), "parse_error"),
        (&call("[1e999]"), json!(1), "parse_error"),
        (
            r#"{"jsonrpc":"2.0","method":"callway.nothing","id":1}"#,
            json!(1),
            "method_not_found",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"nothing","id":1}"#,
            json!(1),
            "method_not_found",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"a//b","id":1}"#,
            json!(1),
            "invalid_request",
        ),
    ] {
        let response = said(&mut client, text).await;
        assert_eq!(kind(&response), (&id, want), "{text:.80}");
    }
    assert_eq!(client.call("echo/now", json!([1])).await, Ok(json!([1])));
}

#[tokio::test]
async fn ids_come_back_as_they_were_written() {
    let (daemon, _worker) = world().await;
    let mut client = daemon.ws().await;
    for id in [
        r#""a""#,
        "7",
        "-1.50",
        "null",
        r#""\u00e4\n""#,
        "12345678901234567890123",
    ] {
        let request = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"echo/now","params":[]}}"#);
        client.send(request).await;
        let text = client.next_text().await;
        assert!(text.contains(&format!(r#""id":{id},"#)), "{text}");
    }
}

#[tokio::test]
async fn a_batch_runs_side_by_side_and_has_one_answer() {
    let (daemon, _worker) = world().await;
    let mut client = daemon.ws().await;
    let request = |id: u32, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": [id]});
    let note = json!({"jsonrpc": "2.0", "method": "echo/now"});
    let batch = json!([
        request(1, "echo/now"),
        note,
        5,
        request(2, "nothing"),
        request(3, "callway.whoami")
    ]);
    let answer = said(&mut client, &batch.to_string()).await;
    let answers = answer.as_array().unwrap();
    let of = |id: Value| answers.iter().find(|one| one["id"] == id).unwrap();
    assert_eq!(answers.len(), 4, "{answer}");
    assert_eq!(of(json!(1))["result"], json!([1]));
    assert_eq!(kind(of(json!(2))).1, "method_not_found");
    assert_eq!(of(json!(3))["result"]["caller"], "tester");
    assert_eq!(kind(of(json!(null))).1, "invalid_request");

    client.send(json!([note, note]).to_string()).await;
    assert!(
        client.is_quiet(Duration::from_millis(50)).await,
        "nothing is owed"
    );
    let six = said(
        &mut client,
        &json!([note, note, note, note, note, note]).to_string(),
    )
    .await;
    assert_eq!(kind(&six), (&json!(null), "too_large"));
}

#[tokio::test]
async fn answers_come_as_they_are_ready() {
    let (daemon, _worker) = world().await;
    let mut client = daemon.ws().await;
    let slow = client.request("echo/never", json!([])).await;
    assert_eq!(client.call("echo/now", json!([1])).await, Ok(json!([1])));
    let cancelled = client.call("callway.cancel", json!({"id": slow})).await;
    assert_eq!(cancelled, Ok(json!({"cancelled": true})));
    assert_eq!(kind(&client.response(slow).await).1, "cancelled");
    let again = client.call("callway.cancel", json!({"id": slow})).await;
    assert_eq!(again, Ok(json!({"cancelled": false})));
}

#[tokio::test]
async fn one_connection_has_so_many_calls_under_way() {
    let (daemon, _worker) = world().await;
    let mut client = daemon.ws().await;
    let waiting = [
        client.request("echo/never", json!([])).await,
        client.request("echo/never", json!([])).await,
        client.request("echo/never", json!([])).await,
    ];
    let beyond = client.call("echo/now", json!([])).await;
    assert_eq!(beyond, Err("overloaded".into()));
    let part = |id: u32| json!({"jsonrpc": "2.0", "id": id, "method": "echo/now", "params": [id]});
    client.send(json!([part(101), part(102)]).to_string()).await;
    assert!(client.is_quiet(Duration::from_millis(50)).await);
    let cancel = json!({"id": waiting[1]});
    client.call("callway.cancel", cancel).await.unwrap();
    let batch = client.find(Value::is_array).await;
    assert_eq!(batch[0]["result"], json!([101]), "waited for its place");
    assert_eq!(batch[1]["result"], json!([102]));
    assert_eq!(client.call("echo/now", json!([])).await, Ok(json!([])));
}

#[tokio::test]
async fn a_call_waits_as_long_as_its_caller_says() {
    let (daemon, _worker) = world().await;
    let mut client = daemon.ws().await;
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"echo/never","timeout":"200ms","key":"k"}"#;
    let start = std::time::Instant::now();
    assert_eq!(kind(&said(&mut client, request).await).1, "timeout");
    let took = start.elapsed();
    assert!((200..1000).contains(&took.as_millis()), "{took:?}");
}

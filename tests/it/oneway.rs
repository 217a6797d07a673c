//! One-way calls: on disk before anybody is told, carried out at least once, and asked for by id.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Amqp, Daemon, Message, Mosquitto, Mqtt, Rabbit, Setup, TOKEN, Version, Ws};

const ROUTES: &str = r#"
    [[route]]
    method = "later/{name...}"
    worker = {}
    one_way = true
    timeout = "2s"
    [[route]]
    method = "now/{name...}"
    worker = {}
    timeout = "2s"
    [[route]]
    method = "strict"
    script = "ok.js"
    one_way = true
    schema = { params = { type = "object" } }
    [[route]]
    method = "broken"
    script = "throws.js"
    one_way = true
"#;

fn setup() -> Setup {
    Setup::new()
        .config(ROUTES)
        .script("ok.js", "return 1;")
        .script("throws.js", "throw new Error('always');")
}

/// A worker for everything; `take` gives the next call and says that it is done.
struct Hands(Ws);

impl Hands {
    async fn offer(daemon: &Daemon) -> Hands {
        let mut worker = daemon.ws().await;
        let offer = json!({"methods": ["later/{name...}", "now/{name...}"], "concurrency": 10});
        worker.call("callway.serve", offer).await.unwrap();
        Hands(worker)
    }

    async fn take(&mut self) -> (String, Value) {
        let ask = self.0.find(|value| value.get("method").is_some()).await;
        let answer = json!({"jsonrpc": "2.0", "id": ask["id"], "result": null});
        self.0.send(answer.to_string()).await;
        (
            ask["method"].as_str().unwrap().to_owned(),
            ask["params"].clone(),
        )
    }
}

async fn state(daemon: &Daemon, location: &str) -> String {
    let reply = daemon.http().get(location).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_can_never_be_carried_out_is_refused_at_once() {
    let daemon = setup().start().await;
    let http = daemon.http();
    for (path, body, status) in [
        ("/api/strict", "[]", 400),
        ("/api/strict", "{\"broken\":", 400),
        ("/api/nowhere", "{}", 404),
    ] {
        let http = http.clone().header("content-type", "application/json");
        let reply = http.send("POST", path, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{path} {body}");
    }
    let unknown = "/api/calls/0190d3a8-0000-7000-8000-000000000000";
    assert_eq!(http.get(unknown).await.status, 404);
    assert_eq!(http.get("/api/calls/x").await.status, 404);
}

#[tokio::test]
async fn a_receipt_is_given_at_once_and_the_call_waits_for_whoever_carries_it_out() {
    let mut daemon = setup().start().await;
    let reply = daemon.http().post("/api/later/job", &json!({"n": 1})).await;
    assert_eq!(reply.status, 202);
    let location = reply.header("location").unwrap().to_owned();
    let id = reply.json()["call_id"].as_str().unwrap().to_owned();
    assert!(location.ends_with(&format!("/calls/{id}")), "{location}");
    assert_eq!(state(&daemon, &location).await, "queued");

    daemon.restart().await;
    assert_eq!(state(&daemon, &location).await, "queued");
    let mut hands = Hands::offer(&daemon).await;
    assert_eq!(
        hands.take().await,
        ("later/job".to_owned(), json!({"n": 1}))
    );
    crate::eventually!(state(&daemon, &location).await == "done");

    let mut client = daemon.ws().await;
    let status = client.call("callway.status", json!({"call_id": id})).await;
    assert_eq!(status.unwrap()["state"], "done");
    let receipt = client.call("later/other", json!([])).await.unwrap();
    assert_eq!(receipt["state"], "queued");
    assert_eq!(hands.take().await.0, "later/other");
}

#[tokio::test]
async fn a_call_that_always_fails_is_dead_and_blocks_nobody() {
    let daemon = setup().start().await;
    let broken = daemon.http().post("/api/broken", &json!({})).await;
    let location = broken.header("location").unwrap().to_owned();
    let mut hands = Hands::offer(&daemon).await;
    daemon.http().post("/api/later/good", &json!({})).await;
    assert_eq!(hands.take().await.0, "later/good");
    crate::eventually!(state(&daemon, &location).await == "dead");
}

#[tokio::test]
async fn a_repeat_with_the_same_key_gets_the_same_receipt() {
    let daemon = setup().start().await;
    let http = daemon.http().header("idempotency-key", "once");
    let first = http.post("/api/later/job", &json!({})).await;
    let again = http.post("/api/later/job", &json!({})).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    let mut hands = Hands::offer(&daemon).await;
    hands.take().await;
    assert!(hands.0.is_quiet(Duration::from_millis(300)).await);
}

/// Who publishes without an address for the reply waits for nothing, so nothing may be lost.
#[tokio::test]
async fn calls_without_a_reply_address_survive_the_process() {
    let broker = Mosquitto::start().await;
    let rabbit = Rabbit::shared().await;
    let mut daemon = setup()
        .config(&format!(
            "[bus.field]\nurl = \"{}\"\n[bus.office]\nurl = \"{}\"\n",
            broker.url(),
            rabbit.url(),
        ))
        .start()
        .await;
    daemon.link_is("field", "up").await;
    daemon.link_is("office", "up").await;
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    let mut call = Message::new("callway/call/now/mqtt", "[1]").user("token", TOKEN);
    call.qos = 1;
    device.publish(&call).await.unwrap();
    let service = Amqp::connect(&rabbit.url()).await;
    let headers = crate::support::headers(&[("method", "now/amqp"), ("token", TOKEN)]);
    let properties = lapin::BasicProperties::default().with_headers(headers);
    service
        .publish("", "callway.calls", b"[2]", properties)
        .await;
    let waiting = r#"callway_spool_messages{queue="calls"}"#;
    crate::eventually!(daemon.metric(waiting).await == 2.0);

    daemon.restart().await;
    let mut hands = Hands::offer(&daemon).await;
    let mut taken = [hands.take().await, hands.take().await];
    taken.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(taken[0], ("now/amqp".to_owned(), json!([2])));
    assert_eq!(taken[1], ("now/mqtt".to_owned(), json!([1])));
    crate::eventually!(daemon.metric(waiting).await == 0.0);
}

/// A caller that can be answered gets the receipt, by whichever way it came.
#[tokio::test]
async fn a_device_gets_a_receipt_and_may_not_take_its_key_for_an_outcome() {
    let broker = Mosquitto::start().await;
    let daemon = setup()
        .config(&format!(
            "[bus.field]\nurl = \"{}\"\nreply_topics = [\"reply/#\"]\n",
            broker.url()
        ))
        .start()
        .await;
    daemon.link_is("field", "up").await;
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("reply/me").await;
    let ask = |topic: &str| {
        let call = Message::new(topic, "[1]").user("token", TOKEN);
        call.user("idempotency-key", "k").reply_to("reply/me", "c")
    };
    device
        .publish(&ask("callway/call/later/job"))
        .await
        .unwrap();
    let receipt = device.next().await.json();
    assert_eq!(receipt["state"], "queued", "{receipt}");
    let mut hands = Hands::offer(&daemon).await;
    assert_eq!(hands.take().await.0, "later/job");

    // First without an address for the reply, then with one: a receipt is no outcome.
    let mut blind = Message::new("callway/call/now/job", "[1]").user("token", TOKEN);
    blind = blind.user("idempotency-key", "k");
    device.publish(&blind).await;
    assert_eq!(hands.take().await.0, "now/job");
    device.publish(&ask("callway/call/now/job")).await.unwrap();
    let refused = device.next().await.json();
    assert_eq!(refused["kind"], "invalid_request", "{refused}");
    let empty = Message::new("callway/call/now/job", "[1]").user("token", TOKEN);
    let empty = empty.user("idempotency-key", "").reply_to("reply/me", "c");
    device.publish(&empty).await.unwrap();
    assert_eq!(device.next().await.json()["kind"], "invalid_request");
}

/// While callway is away, the broker keeps what devices publish.
#[tokio::test]
async fn a_device_that_calls_while_callway_is_away_is_heard_later() {
    let broker = Mosquitto::start().await;
    let mut daemon = setup()
        .config(&format!("[bus.field]\nurl = \"{}\"\n", broker.url()))
        .start()
        .await;
    daemon.link_is("field", "up").await;
    let mut device = Mqtt::connect(broker.port, Version::V4).await;
    daemon.kill();
    let call = json!({"method": "now/missed", "params": [3], "token": TOKEN});
    let mut call = Message::new("callway/call", call.to_string());
    call.qos = 1;
    device.publish(&call).await.unwrap();
    daemon.restart().await;
    let mut hands = Hands::offer(&daemon).await;
    assert_eq!(hands.take().await, ("now/missed".to_owned(), json!([3])));
}

/// Calls that are never answered take up no more than their share.
#[tokio::test]
async fn a_target_that_hangs_holds_up_nobody_else() {
    let daemon = setup()
        .config("[[route]]\nmethod = \"hang\"\nworker = {}\none_way = true\ntimeout = \"30s\"\n")
        .start()
        .await;
    let mut idle = daemon.ws().await;
    let offer = json!({"methods": ["hang"], "concurrency": 1000});
    idle.call("callway.serve", offer).await.unwrap();
    for _ in 0..300 {
        assert_eq!(
            daemon.http().post("/api/hang", &json!({})).await.status,
            202
        );
    }
    daemon.http().post("/api/later/good", &json!({})).await;
    let mut hands = Hands::offer(&daemon).await;
    assert_eq!(hands.take().await.0, "later/good");
}

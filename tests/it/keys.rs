//! Idempotency keys: a repeat gets the first outcome, whatever it came over, and nothing runs twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Amqp, Daemon, Message, Mosquitto, Mqtt, Rabbit, Setup, TOKEN, Version, Ws};

const ROUTES: &str = r#"
    [[route]]
    method = "count/{name...}"
    worker = {}
    timeout = "5s"
    [[route]]
    method = "throws"
    script = "throws.js"
    [[route]]
    method = "away"
    http = { url = "http://127.0.0.1:9/" }
"#;

/// Answers `count/…` with how often it was asked, counting from 1.
struct Counter {
    asked: Arc<AtomicUsize>,
}

impl Counter {
    async fn start(daemon: &Daemon) -> Counter {
        let mut worker = daemon.ws().await;
        let offer = json!({"methods": ["count/{name...}"], "concurrency": 100});
        worker.call("callway.serve", offer).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Counter {
            asked: asked.clone(),
        };
        tokio::spawn(async move {
            loop {
                let ask = worker.next_ever().await;
                let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
                if ask["method"] == "count/slowly" {
                    // Long enough that a repeat finds it under way.
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
                let answer = json!({"jsonrpc": "2.0", "id": ask["id"], "result": count});
                worker.send(answer.to_string()).await;
            }
        });
        counter
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn setup() -> Setup {
    Setup::new()
        .config(ROUTES)
        .script("throws.js", "throw new Error('at ' + Math.random());")
}

fn request(id: u64, method: &str, params: &Value, key: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params, "key": key}).to_string()
}

async fn with_key(client: &mut Ws, method: &str, params: Value, key: &str) -> Value {
    client.send(request(7, method, &params, key)).await;
    client.response(7).await
}

#[tokio::test]
async fn other_params_or_a_bad_key_are_refused() {
    let daemon = setup().start().await;
    let counter = Counter::start(&daemon).await;
    let mut client = daemon.ws().await;
    let first = with_key(&mut client, "count/a", json!([1]), "k").await;
    assert_eq!(first["result"], 1);
    let other = with_key(&mut client, "count/a", json!([2]), "k").await;
    assert_eq!(other["error"]["data"]["kind"], "invalid_request");
    for key in ["", &"k".repeat(256)] {
        let refused = with_key(&mut client, "count/a", json!([1]), key).await;
        assert_eq!(refused["error"]["data"]["kind"], "invalid_request", "{key}");
    }
    let http = daemon.http().header("idempotency-key", "k");
    assert_eq!(http.post("/api/count/a", &json!([3])).await.status, 422);
    assert_eq!(counter.asked(), 1);
}

#[tokio::test]
async fn a_repeat_gets_the_first_outcome_byte_for_byte_also_after_a_restart() {
    let mut daemon = setup().start().await;
    let counter = Counter::start(&daemon).await;
    let http = daemon.http().header("idempotency-key", "pay-1");
    let first = http.post("/api/count/pay", &json!({"n": 1})).await;
    let thrown = http.post("/api/throws", &json!({})).await;
    assert_eq!((first.status, thrown.status), (200, 500));

    let again = http.post("/api/count/pay", &json!({"n": 1})).await;
    assert_eq!(again.body, first.body);
    assert_eq!(http.post("/api/throws", &json!({})).await.body, thrown.body);

    daemon.restart().await;
    let again = http.post("/api/count/pay", &json!({"n": 1})).await;
    assert_eq!((again.status, again.body), (200, first.body));
    assert_eq!(http.post("/api/throws", &json!({})).await.body, thrown.body);
    assert_eq!(counter.asked(), 1);
}

#[tokio::test]
async fn what_was_not_carried_out_may_be_tried_again_with_the_same_key() {
    let daemon = setup().start().await;
    let mut client = daemon.ws().await;
    let nobody = with_key(&mut client, "count/x", json!([]), "k").await;
    assert_eq!(nobody["error"]["data"]["kind"], "no_responder");
    let counter = Counter::start(&daemon).await;
    assert_eq!(
        with_key(&mut client, "count/x", json!([]), "k").await["result"],
        1
    );
    let away = with_key(&mut client, "away", json!([]), "k").await;
    assert_eq!(away["error"]["data"]["kind"], "unavailable");
    assert_eq!(counter.asked(), 1, "a key belongs to its method");
}

#[tokio::test]
async fn repeats_wait_for_the_first_and_it_outlives_its_caller() {
    let daemon = setup().start().await;
    let counter = Counter::start(&daemon).await;
    let mut first = daemon.ws().await;
    first
        .send(request(1, "count/slowly", &json!([]), "k"))
        .await;
    crate::eventually!(counter.asked() == 1);
    first.close().await;
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut client = daemon.ws().await;
        client
            .send(request(1, "count/slowly", &json!([]), "k"))
            .await;
        others.push(client);
    }
    for mut client in others {
        assert_eq!(client.response(1).await["result"], 1);
    }
    assert_eq!(counter.asked(), 1);
}

#[tokio::test]
async fn one_key_counts_over_all_transports() {
    let broker = Mosquitto::start().await;
    let rabbit = Rabbit::shared().await;
    let daemon = setup()
        .config(&format!(
            r#"
            [bus.field]
            url = "{}"
            reply_topics = ["reply/+"]
            [bus.office]
            url = "{}"
            "#,
            broker.url(),
            rabbit.url(),
        ))
        .start()
        .await;
    daemon.link_is("field", "up").await;
    daemon.link_is("office", "up").await;
    let counter = Counter::start(&daemon).await;
    let params = json!({"n": 1});
    let body = params.to_string();

    let mut ws = daemon.ws().await;
    assert_eq!(
        with_key(&mut ws, "count/all", params.clone(), "k").await["result"],
        1
    );

    let http = daemon.http().header("idempotency-key", "k");
    assert_eq!(http.post("/api/count/all", &params).await.json(), 1);

    for version in [Version::V5, Version::V4] {
        let mut device = Mqtt::connect(broker.port, version).await;
        device.subscribe("reply/me").await;
        let envelope = json!({
            "method": "count/all", "params": params, "id": 1, "token": TOKEN,
            "reply_to": "reply/me", "key": "k",
        });
        let call = Message::new("callway/call", envelope.to_string());
        device.publish(&call).await.unwrap();
        assert_eq!(device.next().await.json()["result"], 1, "{version:?}");
    }
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("reply/me").await;
    let call = Message::new("callway/call/count/all", body.clone())
        .reply_to("reply/me", "c")
        .user("token", TOKEN)
        .user("idempotency-key", "k");
    device.publish(&call).await.unwrap();
    assert_eq!(device.next().await.json(), 1);

    let mut service = Amqp::connect(&rabbit.url()).await;
    let headers = crate::support::headers(&[
        ("method", "count/all"),
        ("token", TOKEN),
        ("idempotency-key", "k"),
    ]);
    let properties = lapin::BasicProperties::default()
        .with_headers(headers)
        .with_reply_to(service.reply_queue.as_str().into());
    service
        .publish("", "callway.calls", body.as_bytes(), properties)
        .await;
    assert_eq!(service.reply().await.json(), 1);
    assert_eq!(counter.asked(), 1);
}

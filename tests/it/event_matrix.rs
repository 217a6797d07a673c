//! Every publisher × every subscriber, on real brokers; and again after the brokers were killed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};

use crate::support::{
    Amqp, Daemon, Message, Mosquitto, Mqtt, Rabbit, Setup, Sse, TOKEN, Version, Ws,
};

/// One channel on everything: both brokers in both directions, history, a method per event. The
/// second bus speaks MQTT 3.1.1, which has no "both".
fn setup(mosquitto: &Mosquitto, rabbit: &Rabbit) -> Setup {
    Setup::new()
        .config(&format!(
            r#"
            [bus.five]
            url = "{mqtt}"
            calls = ""
            [bus.four]
            url = "{mqtt}"
            protocol = 4
            calls = ""
            [bus.office]
            url = "{amqp}"
            [[channel]]
            name = "all/{{key}}"
            mqtt = {{ bus = "five", topic = "all/{{key}}", direction = "both" }}
            amqp = {{ bus = "office", exchange = "all", routing_key = "all.{{key}}", direction = "both", declare = "topic" }}
            history = {{ count = 1000 }}
            call = "seen/{{key}}"
            call_as = "tester"
            [[channel]]
            name = "old/{{key}}"
            mqtt = {{ bus = "four", topic = "old/{{key}}", direction = "in" }}
            amqp = {{ bus = "office", exchange = "all", routing_key = "old.{{key}}", direction = "out", declare = "topic" }}
            [[channel]]
            name = "older/{{key}}"
            mqtt = {{ bus = "four", topic = "older/{{key}}", direction = "out" }}
            [[route]]
            method = "seen/{{key}}"
            worker = {{}}
            [[route]]
            method = "publish"
            script = "publish.js"
            [[route]]
            method = "publish-lua"
            script = "publish.lua"
            "#,
            mqtt = mosquitto.url(),
            amqp = rabbit.url(),
        ))
        .script("publish.js", "callway.publish('all/x', request.parameters); return 'ok';")
        .script("publish.lua", "callway.publish('all/x', request.parameters) return 'ok'")
}

/// Who publishes to `all/x`.
const PUBLISHERS: [&str; 10] = [
    "jsonrpc", "scriptr", "http", "mqtt5", "mqtt3", "direct5", "direct3", "amqp", "js", "lua",
];

async fn publish(
    daemon: &Daemon,
    mosquitto: &Mosquitto,
    rabbit: &Rabbit,
    how: &str,
    payload: &Value,
) {
    let text = payload.to_string();
    match how {
        "jsonrpc" => {
            let mut client = daemon.ws().await;
            let params = json!({"channel": "all/x", "payload": payload});
            client.call("callway.publish", params).await.unwrap();
        }
        "scriptr" => {
            let mut client = Ws::connect(&daemon.ws_url("/"), TOKEN).await;
            client.next().await; // the greeting
            let call =
                json!({"method": "Publish", "params": {"channel": "all/x", "message": payload}});
            client.send(call.to_string()).await;
            assert_eq!(client.next().await["status"], "success");
        }
        "http" => {
            let reply = daemon.http().post("/api/channels/all/x", payload).await;
            assert_eq!(reply.status, 204, "both brokers are there");
        }
        "mqtt5" | "mqtt3" => {
            let version = if how == "mqtt5" {
                Version::V5
            } else {
                Version::V4
            };
            let mut device = Mqtt::connect(mosquitto.port, version).await;
            let mut message = Message::new("all/x", text);
            message.qos = 1;
            device.publish(&message).await.unwrap();
        }
        "direct5" | "direct3" => {
            let version = if how == "direct5" {
                Version::V5
            } else {
                Version::V4
            };
            let mut device = directly(daemon, version).await;
            let mut message = Message::new("all/x", text);
            message.qos = 1;
            device.publish(&message).await.unwrap();
        }
        "amqp" => {
            let client = Amqp::connect(&rabbit.url()).await;
            client
                .publish("all", "all.x", text.as_bytes(), Default::default())
                .await;
        }
        _ => {
            let method = if how == "js" {
                "publish"
            } else {
                "publish-lua"
            };
            let mut client = daemon.ws().await;
            assert_eq!(client.call(method, payload.clone()).await, Ok(json!("ok")));
        }
    }
}

/// A device that needs no broker.
async fn directly(daemon: &Daemon, version: Version) -> Mqtt {
    let login = Some(("any", TOKEN));
    let device = Mqtt::try_connect(daemon.mqtt.port(), version, login).await;
    device.unwrap()
}

/// Everybody who hears of `all/x`.
struct Audience {
    jsonrpc: Ws,
    scriptr: Ws,
    events: Sse,
    device: Mqtt,
    direct5: Mqtt,
    direct3: Mqtt,
    queue: lapin::Consumer,
    worker: Ws,
    _connection: Amqp,
}

impl Audience {
    async fn gather(daemon: &Daemon, mosquitto: &Mosquitto, rabbit: &Rabbit) -> Audience {
        let mut jsonrpc = daemon.ws().await;
        let subscribe = json!({"channel": "all/x"});
        jsonrpc.call("callway.subscribe", subscribe).await.unwrap();
        let mut scriptr = Ws::connect(&daemon.ws_url("/"), TOKEN).await;
        scriptr.next().await;
        let subscribe = json!({"method": "Subscribe", "params": {"channel": "all/x"}});
        scriptr.send(subscribe.to_string()).await;
        assert_eq!(scriptr.next().await["status"], "success");
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str())];
        let events = Sse::open(daemon.address, "/api/channels/all/x", &headers).await;
        let events = events.unwrap();
        let mut device = Mqtt::connect(mosquitto.port, Version::V5).await;
        device.subscribe("all/x").await;
        let mut direct5 = directly(daemon, Version::V5).await;
        direct5.subscribe("all/+").await;
        let mut direct3 = directly(daemon, Version::V4).await;
        direct3.subscribe("all/x").await;
        let connection = Amqp::connect(&rabbit.url()).await;
        let queue = bound(&connection, "all.x").await;
        let mut worker = daemon.ws().await;
        let offer = json!({"methods": ["seen/{key}"], "concurrency": 100});
        worker.call("callway.serve", offer).await.unwrap();
        Audience {
            jsonrpc,
            scriptr,
            events,
            device,
            direct5,
            direct3,
            queue,
            worker,
            _connection: connection,
        }
    }

    /// What each hears next.
    async fn hear(&mut self) -> BTreeMap<&'static str, Value> {
        let event = self.jsonrpc.next().await;
        assert_eq!(event["method"], "callway.event");
        let block = self.events.next().await.unwrap();
        let asked = self.worker.next().await;
        let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": null});
        self.worker.send(answer.to_string()).await;
        BTreeMap::from([
            ("jsonrpc", event["params"]["payload"].clone()),
            ("scriptr", self.scriptr.next().await),
            ("sse", block["payload"].clone()),
            ("mqtt", self.device.next().await.json()),
            ("direct5", self.direct5.next().await.json()),
            ("direct3", self.direct3.next().await.json()),
            ("amqp", delivered(&mut self.queue).await),
            ("method", asked["params"].clone()),
        ])
    }
}

/// A queue of its own behind the exchange, with what comes of it.
async fn bound(connection: &Amqp, key: &str) -> lapin::Consumer {
    let channel = &connection.channel;
    let options = QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    let table = FieldTable::default;
    let queue = channel
        .queue_declare("".into(), options, table())
        .await
        .unwrap();
    let name = queue.name().clone();
    channel
        .queue_bind(
            name.clone(),
            "all".into(),
            key.into(),
            QueueBindOptions::default(),
            table(),
        )
        .await
        .unwrap();
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    channel
        .basic_consume(name, "".into(), no_ack, table())
        .await
        .unwrap()
}

async fn delivered(queue: &mut lapin::Consumer) -> Value {
    let next = tokio::time::timeout(crate::support::PATIENCE, queue.next()).await;
    let delivery = next.expect("no delivery came").unwrap().unwrap();
    let headers = delivery.properties.headers().as_ref();
    if headers.is_some_and(|headers| headers.inner().contains_key("callway-origin")) {
        // callway's own are kept on the broker's disk too.
        assert_eq!(*delivery.properties.delivery_mode(), Some(2));
    }
    serde_json::from_slice(&delivery.data).unwrap()
}

/// RabbitMQ writes down what it needs to find a new quorum queue again only every five seconds. One
/// that is killed before never comes back, and nothing tells when it is over.
const SETTLED: Duration = Duration::from_secs(6);
/// RabbitMQ takes its time to find the leaders of its quorum queues after it was killed.
const ELECTIONS: Duration = Duration::from_secs(90);

async fn links_are_up(daemon: &Daemon) {
    let up = json!({"five": "up", "four": "up", "office": "up"});
    crate::eventually!(daemon.admin().get("/readyz").await.json()["links"] == up, within ELECTIONS);
}

#[tokio::test]
async fn every_publisher_reaches_every_subscriber() {
    let mut mosquitto = Mosquitto::start().await;
    let mut rabbit = Rabbit::own().await;
    let daemon = setup(&mosquitto, &rabbit).start().await;
    links_are_up(&daemon).await;
    for round in 0..2 {
        let mut audience = Audience::gather(&daemon, &mosquitto, &rabbit).await;
        for how in PUBLISHERS {
            let payload = json!({"from": how, "round": round});
            publish(&daemon, &mosquitto, &rabbit, how, &payload).await;
            for (who, heard) in audience.hear().await {
                assert_eq!(heard, payload, "{how} to {who}");
            }
        }
        // Nothing comes back from a broker as another event.
        assert!(audience.jsonrpc.is_quiet(Duration::from_millis(300)).await);
        drop(audience);
        tokio::time::sleep(SETTLED).await;
        mosquitto.restart().await;
        rabbit.restart().await;
        links_are_up(&daemon).await;
    }
    let history = daemon
        .http()
        .get("/api/channels/all/x?count=100")
        .await
        .json();
    assert_eq!(
        history["events"].as_array().unwrap().len(),
        2 * PUBLISHERS.len()
    );
}

#[tokio::test]
async fn mqtt_3_1_1_carries_events_both_ways_by_two_channels() {
    let mosquitto = Mosquitto::start().await;
    let rabbit = Rabbit::shared().await;
    let daemon = setup(&mosquitto, &rabbit).start().await;
    links_are_up(&daemon).await;
    let connection = Amqp::connect(&rabbit.url()).await;
    let mut queue = bound(&connection, "old.#").await;
    let mut device = Mqtt::connect(mosquitto.port, Version::V4).await;
    device.subscribe("older/#").await;
    let mut message = Message::new("old/7", "{\"n\":1}");
    message.qos = 1;
    device.publish(&message).await.unwrap();
    assert_eq!(delivered(&mut queue).await, json!({"n": 1}));
    let params = json!({"channel": "older/7", "payload": [2]});
    daemon
        .ws()
        .await
        .call("callway.publish", params)
        .await
        .unwrap();
    let heard = device.next().await;
    assert_eq!(
        (heard.topic.as_str(), heard.json()),
        ("older/7", json!([2]))
    );
}

/// An event that came from a broker and one that was never new are told apart.
#[tokio::test]
async fn a_retained_message_is_the_last_event_and_nothing_else() {
    let mosquitto = Mosquitto::start().await;
    let rabbit = Rabbit::shared().await;
    let mut device = Mqtt::connect(mosquitto.port, Version::V5).await;
    let mut kept = Message::new("all/x", "\"kept\"");
    (kept.retain, kept.qos) = (true, 1);
    device.publish(&kept).await.unwrap();
    let daemon = setup(&mosquitto, &rabbit).start().await;
    links_are_up(&daemon).await;
    let mut client = daemon.ws().await;
    let ask = json!({"channel": "all/x"});
    crate::eventually!(
        client.call("callway.history", ask.clone()).await.unwrap()["last"]["payload"] == "kept"
    );
    let history = client.call("callway.history", ask).await.unwrap();
    assert_eq!(history["events"], json!([]));
    assert_eq!(
        daemon
            .metric(r#"callway_spool_messages{queue="calls"}"#)
            .await,
        0.0
    );
}

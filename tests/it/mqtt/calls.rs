//! Devices that make calls.

use std::time::Duration;

use serde_json::{Value, json};

use super::{dropped, setup, start};
use crate::support::{Daemon, Message, Mosquitto, Mqtt, POWERLESS, TOKEN, Version};

/// A worker that answers `work/…` with what it was asked.
async fn worker(daemon: &Daemon) -> tokio::task::JoinHandle<()> {
    let mut socket = daemon.ws().await;
    let offer = json!({"methods": ["work/{name}"], "concurrency": 64});
    socket.call("callway.serve", offer).await.unwrap();
    tokio::spawn(async move {
        loop {
            let request = socket.next_ever().await;
            if request["method"] == "work/echo" {
                let response =
                    json!({"jsonrpc": "2.0", "id": request["id"], "result": request["params"]});
                socket.send(response.to_string()).await;
            }
        }
    })
}

/// A client that awaits its replies on `reply/me`.
async fn client(broker: &Mosquitto, version: Version) -> Mqtt {
    let mut client = Mqtt::connect(broker.port, version).await;
    client.subscribe("reply/me").await;
    client
}

fn call(method: &str, params: &str) -> Message {
    Message::new(&format!("five/call/{method}"), params)
        .reply_to("reply/me", "c-1")
        .user("token", TOKEN)
}

/// The status of a bare reply.
async fn status(client: &mut Mqtt, call: Message) -> String {
    client.publish(&call).await.unwrap();
    let reply = client.next().await;
    assert_eq!(reply.correlation.as_deref(), Some(&b"c-1"[..]));
    let status = reply.property("status").unwrap().to_owned();
    if status != "ok" {
        assert_eq!(
            reply.json()["kind"],
            status.as_str(),
            "the body tells the same"
        );
        assert!(reply.json()["call_id"].is_string());
    }
    status
}

#[tokio::test]
async fn the_topic_names_the_method_and_the_payload_is_the_params() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let worker = worker(&daemon).await;
    let mut client = client(&broker, Version::V5).await;
    for qos in [0, 1] {
        let mut request = call("work/echo", r#"{"n":[1.5,"ü"]}"#);
        request.qos = qos;
        client.publish(&request).await.unwrap();
        let reply = client.next().await;
        assert_eq!(reply.json(), json!({"n": [1.5, "ü"]}));
        assert_eq!(reply.property("status"), Some("ok"));
        assert_eq!(reply.content_type.as_deref(), Some("application/json"));
        assert_eq!(reply.correlation.as_deref(), Some(&b"c-1"[..]));
        assert_eq!(reply.qos, qos);
        assert!(
            reply
                .expiry
                .is_some_and(|seconds| (1..=30).contains(&seconds))
        );
    }
    worker.abort();
}

#[tokio::test]
async fn every_refusal_has_its_kind() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let worker = worker(&daemon).await;
    let mut client = client(&broker, Version::V5).await;
    let plain = |method: &str, params: &str| {
        Message::new(&format!("five/call/{method}"), params).reply_to("reply/me", "c-1")
    };
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    for (message, expected) in [
        (plain("work/echo", "{}"), "unauthenticated"),
        (
            plain("work/echo", "{}").user("token", "wrong"),
            "unauthenticated",
        ),
        (
            call("work/echo", "{}").user("token", POWERLESS),
            "unauthenticated",
        ),
        (
            plain("work/echo", "{}").user("token", POWERLESS),
            "forbidden",
        ),
        (plain("no/such", "{}").user("token", POWERLESS), "forbidden"),
        (call("no/such", "{}"), "method_not_found"),
        (call("work//echo", "{}"), "invalid_request"),
        (call("work/a{b", "{}"), "invalid_request"),
        (call("callway.whoami", "{}"), "invalid_request"),
        (call("work/echo", "{broken"), "parse_error"),
        (call("work/echo", "[1e999]"), "parse_error"),
        (call("work/echo", r#"["\ud800"]"#), "parse_error"),
        (call("work/echo", &deep[..200_000]), "parse_error"),
        (call("work/echo", &"x".repeat(262_145)), "too_large"),
        (call("work/echo", "{}").user("hops", "9"), "invalid_request"),
        (
            call("work/echo", "{}").user("hops", "many"),
            "invalid_request",
        ),
        (
            call("work/echo", "{}").user("deadline", "soon"),
            "invalid_request",
        ),
        (call("work/echo", "{}").user("deadline", "1"), "timeout"),
        (call("work/echo", "{}").user("hops", "8"), "ok"),
        (call("work/echo", "21.5"), "ok"),
    ] {
        let what = format!("{} {:?}", message.topic, message.user.last());
        assert_eq!(status(&mut client, message).await, expected, "{what}");
    }
    let mut hasty = call("work/silent", "{}");
    hasty.expiry = Some(1);
    let asked = tokio::time::Instant::now();
    assert_eq!(status(&mut client, hasty).await, "timeout");
    assert!(
        asked.elapsed() < Duration::from_millis(1500),
        "its expiry is its deadline"
    );
    worker.abort();
}

#[tokio::test]
async fn an_envelope_carries_a_whole_call_on_both_versions() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let worker = worker(&daemon).await;
    for (prefix, version) in [("five/call", Version::V5), ("four/call", Version::V4)] {
        let mut client = client(&broker, version).await;
        let mut ask = async |envelope: String| -> Value {
            client
                .publish(&Message::new(prefix, envelope))
                .await
                .unwrap();
            client.next().await.json()
        };
        let whole = |method: &str, rest: Value| {
            let mut envelope = json!({
                "method": method, "params": {"n": 1}, "id": "a-1", "token": TOKEN,
                "reply_to": "reply/me",
            });
            for (key, value) in rest.as_object().unwrap() {
                envelope[key] = value.clone();
            }
            envelope.to_string()
        };
        let reply = ask(whole("work/echo", json!({"id": 7}))).await;
        assert_eq!(
            reply,
            json!({"jsonrpc": "2.0", "id": 7, "result": {"n": 1}})
        );
        for (envelope, kind, code) in [
            (
                whole("work/echo", json!({"token": "wrong"})),
                "unauthenticated",
                -32001,
            ),
            (
                whole("work/echo", json!({"token": POWERLESS})),
                "forbidden",
                -32002,
            ),
            (whole("no/such", json!({})), "method_not_found", -32601),
            (
                whole("work/silent", json!({"timeout": "50ms"})),
                "timeout",
                -32003,
            ),
            (
                whole("work/echo", json!({"timeout": "soon"})),
                "invalid_request",
                -32600,
            ),
            (
                whole("work/echo", json!({"hops": 9})),
                "invalid_request",
                -32600,
            ),
            (
                whole("work/echo", json!({"method": 5})),
                "invalid_request",
                -32600,
            ),
            (
                whole("work/echo", json!({})).replace("{\"n\":1}", "1e999"),
                "parse_error",
                -32700,
            ),
        ] {
            let reply = ask(envelope.clone()).await;
            assert_eq!(reply["id"], "a-1", "{envelope}");
            assert_eq!(reply["error"]["data"]["kind"], kind, "{envelope}");
            assert_eq!(reply["error"]["code"], code, "{envelope}");
        }
        // Nobody can be told; and the next call is served.
        for junk in ["{broken", "[]", "", "\u{1}"] {
            client.publish(&Message::new(prefix, junk)).await.unwrap();
        }
        client
            .publish(&Message::new(prefix, whole("work/echo", json!({}))))
            .await;
        assert_eq!(client.next().await.json()["result"], json!({"n": 1}));
    }
    worker.abort();
}

#[tokio::test]
async fn a_retained_call_is_not_run() {
    let mut broker = Mosquitto::start_with(&["persistence true", "autosave_interval 1"]).await;
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    let mut kept = call("device/lamp", "{}");
    kept.retain = true;
    device.publish(&kept).await;
    kept.topic = "four/call/device/lamp".into();
    device.publish(&kept).await;

    let daemon = start(&broker).await;
    // MQTT 3.1.1 cannot ask the broker to keep it for itself.
    crate::eventually!(dropped(&daemon, "retained_call").await == 1.0);
    broker.restart().await;
    // Too short to be seen from outside, perhaps; the log tells of both.
    crate::eventually!(daemon.log().matches("link up").count() == 4);

    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("device/#").await;
    let mut caller = client(&broker, Version::V5).await;
    caller.publish(&call("device/fresh", "{}")).await;
    assert_eq!(
        device.next().await.topic,
        "device/fresh",
        "nothing came before"
    );
}

#[tokio::test]
async fn a_reply_goes_nowhere_else() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("#").await;
    for topic in [
        "device/victim",
        "repl",
        "replies/x",
        "five/call/work/echo",
        "callway/inbox/gw-1/x",
    ] {
        let mut request = call("device/lamp", "{}");
        request.response_topic = Some(topic.into());
        device.publish(&request).await;
        device.next().await; // its own request comes back, as it has subscribed everything
    }
    let envelope = json!({"method": "device/lamp", "token": TOKEN, "reply_to": "device/+"});
    device
        .publish(&Message::new("four/call", envelope.to_string()))
        .await;
    device.next().await;
    crate::eventually!(dropped(&daemon, "forbidden_reply_address").await == 6.0);
    device.publish(&Message::new("marker", "")).await;
    assert_eq!(device.next().await.topic, "marker", "none of them was run");
}

#[tokio::test]
async fn a_bus_may_have_a_caller_of_its_own() {
    let broker = Mosquitto::start().await;
    let config = format!(
        r#"
        [bus.field]
        url = "{url}"
        calls = "field/call"
        reply_topics = ["reply/+"]
        caller = "tester"
        [bus.deaf]
        url = "{url}"
        calls = "deaf/call"
        reply_topics = ["reply/+"]
        caller = "powerless"
        identity = "none"
        "#,
        url = broker.url()
    );
    let daemon = setup(&broker).config(&config).start().await;
    daemon.link_is("field", "up").await;
    daemon.link_is("deaf", "up").await;
    let worker = worker(&daemon).await;
    let mut client = client(&broker, Version::V5).await;
    let at = |prefix: &str| {
        Message::new(&format!("{prefix}/call/work/echo"), "{}").reply_to("reply/me", "c-1")
    };
    assert_eq!(status(&mut client, at("field")).await, "ok");
    let wrong = at("field").user("token", "wrong");
    assert_eq!(status(&mut client, wrong).await, "unauthenticated");
    let powerless = at("field").user("token", POWERLESS);
    assert_eq!(status(&mut client, powerless).await, "forbidden");
    let ignored = at("deaf").user("token", TOKEN);
    assert_eq!(status(&mut client, ignored).await, "forbidden");
    worker.abort();
}

#[tokio::test]
async fn a_call_without_reply_address_is_run_and_counted() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let worker = worker(&daemon).await;
    let mut client = client(&broker, Version::V4).await;
    let envelope = json!({"method": "work/echo", "token": TOKEN}).to_string();
    client.publish(&Message::new("four/call", envelope)).await;
    let done = r#"callway_calls_total{via="mqtt",target="worker",outcome="ok"}"#;
    crate::eventually!(daemon.metric(done).await == 1.0);
    // MQTT 3.1.1 has no response topic, so the parameter form never gets a reply.
    client
        .publish(&Message::new("four/call/work/echo", "{}"))
        .await;
    crate::eventually!(
        daemon
            .log()
            .contains("a call without reply address was refused")
    );
    assert!(!daemon.log().contains(TOKEN));
    worker.abort();
}

/// Nobody can be told, so people find it among the dead letters.
#[tokio::test]
async fn a_message_that_is_no_call_is_put_aside_without_its_token() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut client = client(&broker, Version::V4).await;
    let nameless = json!({"params": [1], "token": TOKEN}).to_string();
    client.publish(&Message::new("four/call", nameless)).await;
    crate::eventually!(daemon.metric("callway_dead_letters").await == 1.0);
    let shown = daemon.command(&["dead", "show", "1"]).await;
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("four/call"), "{shown}");
    assert!(shown.contains("[1]"), "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
    assert_eq!(dropped(&daemon, "poison").await, 1.0);
}

#[tokio::test]
async fn too_many_calls_are_told_so() {
    let broker = Mosquitto::start().await;
    let few = "[limits]\nin_flight = 2\n";
    let daemon = setup(&broker).config(few).start().await;
    daemon.link_is("five", "up").await;
    let mut client = client(&broker, Version::V5).await;
    for _ in 0..5 {
        client.publish(&call("device/silent", "{}")).await.unwrap();
    }
    for _ in 0..3 {
        let reply = client.next().await;
        assert_eq!(reply.property("status"), Some("overloaded"));
        assert!(reply.json()["retry_after"].is_u64());
    }
    let reached = r#"callway_limit_reached_total{limit="bus_calls"}"#;
    assert_eq!(daemon.metric(reached).await, 3.0);
}

#[tokio::test]
async fn a_call_under_way_is_answered_when_callway_stops() {
    let broker = Mosquitto::start().await;
    let mut daemon = start(&broker).await;
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("device/lamp").await;
    let mut client = client(&broker, Version::V5).await;
    client.publish(&call("device/lamp", "{}")).await.unwrap();
    let request = device.next().await;
    daemon.signal(rustix::process::Signal::TERM);
    crate::eventually!(daemon.admin().get("/readyz").await.status == 503);
    assert_eq!(
        status(&mut client, call("device/lamp", "{}")).await,
        "shutting_down"
    );
    let mut reply = Message::new(request.response_topic.as_deref().unwrap(), "\"lit\"");
    reply.correlation = request.correlation;
    device.publish(&reply).await;
    let answer = client.next().await;
    assert_eq!(answer.property("status"), Some("ok"));
    assert!(daemon.ended().await.success());
}

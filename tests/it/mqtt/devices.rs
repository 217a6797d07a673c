//! Devices that answer calls.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{dropped, start};
use crate::support::{Message, Mosquitto, Mqtt, Version, Ws};

/// A reply to a request in the bare form.
fn reply(request: &Message, body: &str) -> Message {
    let mut reply = Message::new(request.response_topic.as_deref().unwrap(), body);
    reply.correlation = request.correlation.clone();
    reply
}

/// The outcome of a call as its caller sees it.
async fn outcome(caller: &mut Ws, id: u64) -> Value {
    let mut response = caller.response(id).await;
    match response.get("error") {
        Some(_) => response["error"]["data"].take(),
        None => response["result"].take(),
    }
}

#[tokio::test]
async fn a_device_gets_all_it_needs_to_answer() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut caller = daemon.ws().await;
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("device/lamp").await;

    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let id = caller.request("device/lamp", json!({"on": true})).await;
    let request = device.next().await;
    assert_eq!(request.json(), json!({"on": true}));
    let inbox = request.response_topic.as_deref().unwrap();
    let random = inbox.strip_prefix("callway/inbox/gw-1/").unwrap();
    assert_eq!(random.len(), 32);
    assert!(random.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(request.correlation.as_ref().unwrap().len(), 32);
    assert_eq!(request.expiry, Some(5), "what is left, rounded up");
    assert_eq!(request.content_type.as_deref(), Some("application/json"));
    assert_eq!(request.property("method"), Some("device/lamp"));
    assert_eq!(request.property("hops"), Some("1"));
    assert_eq!(request.property("call-id").unwrap().len(), 36);
    assert_eq!(request.property("token"), None);
    let deadline: u128 = request.property("deadline").unwrap().parse().unwrap();
    let left = deadline - before.as_millis();
    assert!((4_500..=5_500).contains(&left), "{left}");
    assert_eq!((request.qos, request.retain), (0, false));

    device.publish(&reply(&request, r#"{"is":"on"}"#)).await;
    assert_eq!(outcome(&mut caller, id).await, json!({"is": "on"}));
}

#[tokio::test]
async fn what_a_device_says_is_taken_for_what_it_is() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut caller = daemon.ws().await;
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("device/lamp").await;
    for (body, content_type, status, expected) in [
        ("21.5", None, None, json!(21.5)),
        ("21.5", Some("text/plain"), None, json!("21.5")),
        ("on", None, Some("ok"), json!("on")),
        ("", None, None, Value::Null),
        (
            "\"\\ud800\"",
            Some("application/json"),
            None,
            json!("target_error"),
        ),
        ("{broken", None, None, json!("target_error")),
        (
            r#"{"why":"worn out"}"#,
            None,
            Some("broken"),
            json!({"why": "worn out"}),
        ),
        ("{broken", None, Some("broken"), json!("{broken")),
        (
            r#"{"kind":"timeout","message":"m"}"#,
            None,
            Some("timeout"),
            json!({"kind": "timeout", "message": "m"}),
        ),
    ] {
        let id = caller.request("device/lamp", json!({})).await;
        let mut answer = reply(&device.next().await, body);
        answer.content_type = content_type.map(Into::into);
        if let Some(status) = status {
            answer = answer.user("status", status);
        }
        device.publish(&answer).await;
        let got = outcome(&mut caller, id).await;
        if status.is_some_and(|status| status != "ok") {
            assert_eq!(got["kind"], "target_error", "{body}");
            assert_eq!(got["detail"], expected, "{body}");
        } else if expected == "target_error" {
            assert_eq!(got["kind"], expected, "{body}");
        } else {
            assert_eq!(got, expected, "{body}");
        }
    }
}

#[tokio::test]
async fn only_the_asked_device_answers_and_only_once() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut caller = daemon.ws().await;
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("device/door").await;
    let mut intruder = Mqtt::connect(broker.port, Version::V5).await;

    let id = caller.request("device/door", json!({})).await;
    let request = device.next().await;
    let mut forged = reply(&request, "\"open\"");
    forged.correlation = Some(b"0123456789abcdef0123456789abcdef".to_vec());
    intruder.publish(&forged).await;
    let mut elsewhere = reply(&request, "\"open\"");
    elsewhere.topic = format!("callway/inbox/gw-1/{}", "0".repeat(32));
    intruder.publish(&elsewhere).await;
    let mut nameless = reply(&request, "\"open\"");
    nameless.correlation = None;
    intruder.publish(&nameless).await;
    crate::eventually!(dropped(&daemon, "late_reply").await == 1.0);
    crate::eventually!(dropped(&daemon, "foreign_reply").await == 1.0);

    device.publish(&reply(&request, "\"closed\"")).await;
    assert_eq!(outcome(&mut caller, id).await, "closed");
    device.publish(&reply(&request, "\"twice\"")).await;
    crate::eventually!(dropped(&daemon, "late_reply").await == 2.0);

    let late = caller.call("hasty/door", json!({})).await;
    assert_eq!(late, Err("timeout".into()));
    let request = device.next().await;
    device.publish(&reply(&request, "\"late\"")).await;
    crate::eventually!(dropped(&daemon, "late_reply").await == 3.0);
}

#[tokio::test]
async fn two_links_to_one_broker_do_not_get_each_others_replies() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut caller = daemon.ws().await;
    for (method, version) in [("device/lamp", Version::V5), ("old/lamp", Version::V4)] {
        let mut device = Mqtt::connect(broker.port, version).await;
        device.subscribe("device/lamp").await;
        let id = caller.request(method, json!({})).await;
        let request = device.next().await;
        let answer = match version {
            Version::V5 => reply(&request, "1"),
            Version::V4 => {
                let request = request.json();
                let topic = request["reply_to"].as_str().unwrap();
                let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": 1});
                Message::new(topic, answer.to_string())
            }
        };
        device.publish(&answer).await;
        assert_eq!(outcome(&mut caller, id).await, 1);
    }
    assert_eq!(dropped(&daemon, "foreign_reply").await, 0.0);
    assert_eq!(dropped(&daemon, "late_reply").await, 0.0);
}

#[tokio::test]
async fn json_rpc_devices_answer_on_both_versions() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut caller = daemon.ws().await;
    for (method, version) in [("rpc/lamp", Version::V5), ("old/lamp", Version::V4)] {
        let mut device = Mqtt::connect(broker.port, version).await;
        device.subscribe("device/lamp").await;

        let id = caller.request(method, json!({"on": 1})).await;
        let request = device.next().await.json();
        assert_eq!(request["jsonrpc"], "2.0");
        assert_eq!(request["method"], method);
        assert_eq!(request["params"], json!({"on": 1}));
        let topic = request["reply_to"].as_str().unwrap().to_owned();
        let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": [1, {"a": null}]});
        device
            .publish(&Message::new(&topic, answer.to_string()))
            .await;
        assert_eq!(outcome(&mut caller, id).await, json!([1, {"a": null}]));

        let id = caller.request(method, json!({})).await;
        let request = device.next().await.json();
        let error = json!({"code": -1, "message": "worn out"});
        let answer = json!({"jsonrpc": "2.0", "id": request["id"], "error": error});
        device
            .publish(&Message::new(&topic, answer.to_string()))
            .await;
        let fault = outcome(&mut caller, id).await;
        assert_eq!(fault["kind"], "target_error");
        assert_eq!(fault["detail"], error);

        let id = caller.request(method, json!({})).await;
        device.next().await;
        for junk in [
            "{broken",
            "[]",
            r#"{"id":null}"#,
            r#"{"id":"guess","result":1}"#,
        ] {
            device.publish(&Message::new(&topic, junk)).await;
        }
        let fault = outcome(&mut caller, id).await;
        assert_eq!(fault["kind"], "timeout", "junk answers nothing");
    }
}

#[tokio::test]
async fn at_qos_1_the_broker_says_that_nobody_is_there() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut caller = daemon.ws().await;
    assert_eq!(
        caller.call("sure/nobody", json!({})).await,
        Err("no_responder".into())
    );
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("device/lamp").await;
    let id = caller.request("sure/lamp", json!({})).await;
    let request = device.next().await;
    assert_eq!(request.qos, 1);
    device.publish(&reply(&request, "1")).await;
    assert_eq!(outcome(&mut caller, id).await, 1);
}

#[tokio::test]
async fn no_name_leads_a_request_astray() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut caller = daemon.ws().await;
    let mut everyone = Mqtt::connect(broker.port, Version::V5).await;
    everyone.subscribe("#").await;
    let long = "x".repeat(300);
    for method in [
        "device/+",
        "device/#",
        "device/a/b/..",
        "device/\u{0}",
        "device/",
        "device//a",
        "device/a/+/b",
        "device/{name}",
        &format!("device/{long}"),
    ] {
        let outcome = caller.call(method, json!({})).await;
        let refused = ["invalid_request", "method_not_found"].map(|kind| Err(kind.to_owned()));
        assert!(refused.contains(&outcome), "{method}: {outcome:?}");
    }
    let id = caller.request("device/a \"b\\", json!({})).await;
    let request = everyone.next().await;
    assert_eq!(request.topic, "device/a \"b\\", "and nothing came before");
    everyone.publish(&reply(&request, "1")).await;
    assert_eq!(outcome(&mut caller, id).await, 1);
}

#[tokio::test]
async fn a_device_behind_a_slow_one_does_not_wait() {
    let broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    let mut caller = daemon.ws().await;
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("device/+").await;
    let slow = caller.request("device/slow", json!({})).await;
    let slow_request = device.next().await;
    let quick = caller.request("device/quick", json!({})).await;
    let quick_request = device.next().await;
    device.publish(&reply(&quick_request, "\"quick\"")).await;
    assert_eq!(outcome(&mut caller, quick).await, "quick");
    tokio::time::sleep(Duration::from_millis(50)).await;
    device.publish(&reply(&slow_request, "\"slow\"")).await;
    assert_eq!(outcome(&mut caller, slow).await, "slow");
}

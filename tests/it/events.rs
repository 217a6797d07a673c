//! Channels: what one client publishes reaches the others, over every transport that clients speak.

mod commands;
mod http;
mod readers;
mod scripts;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Daemon, POWERLESS, Setup, TOKEN, Ws};

const CHANNELS: &str = r#"
    [[channel]]
    name = "live/{x...}"
    [[channel]]
    name = "kept/{x...}"
    history = { count = 2000, age = "1h", bytes = "10MiB" }
    [[channel]]
    name = "short/{x...}"
    history = { count = 2 }
"#;

async fn world() -> Daemon {
    Setup::new().config(CHANNELS).start().await
}

async fn publish(client: &mut Ws, channel: &str, payload: Value) -> String {
    let params = json!({"channel": channel, "payload": payload});
    let published = client.call("callway.publish", params).await.unwrap();
    published["position"].as_str().unwrap().to_owned()
}

async fn subscribe(client: &mut Ws, channel: &str, since: Option<&str>) -> Value {
    let params = match since {
        Some(since) => json!({"channel": channel, "since": since}),
        None => json!({"channel": channel}),
    };
    client.call("callway.subscribe", params).await.unwrap()
}

/// The payload of the next event.
async fn event(client: &mut Ws) -> Value {
    let mut event = client
        .find(|message| message["method"] == "callway.event")
        .await;
    event["params"]["payload"].take()
}

#[tokio::test]
async fn what_is_not_permitted_or_not_there_is_refused() {
    let daemon = world().await;
    let mut client = daemon.ws().await;
    let mut powerless = Ws::connect(&daemon.ws_url("/rpc"), POWERLESS).await;
    for name in ["publish", "subscribe", "history"] {
        let method = format!("callway.{name}");
        for (channel, kind) in [("nowhere", "method_not_found"), ("a/+", "invalid_request")] {
            let params = json!({"channel": channel, "payload": 1});
            let refused = client.call(&method, params).await.unwrap_err();
            assert_eq!(refused, kind, "{name} {channel}");
        }
        for channel in ["live/a", "nowhere"] {
            let params = json!({"channel": channel, "payload": 1, "since": "?"});
            let refused = powerless.call(&method, params).await.unwrap_err();
            assert_eq!(refused, "forbidden", "{name} {channel}");
        }
        let refused = client.call(&method, json!({"payload": 1})).await;
        assert_eq!(refused.unwrap_err(), "invalid_params");
    }
    let large = json!({"channel": "live/a", "payload": "x".repeat(255 * 1024)});
    let refused = client.call("callway.publish", large).await;
    assert!(refused.is_ok(), "as large as a message may be");
    for (outcome, count) in [
        ("forbidden", 2.0),
        ("method_not_found", 1.0),
        ("accepted", 1.0),
    ] {
        let name = format!(r#"callway_events_total{{via="ws",outcome="{outcome}"}}"#);
        assert_eq!(daemon.metric(&name).await, count, "{name}");
    }
}

#[tokio::test]
async fn events_reach_everyone_who_wants_them_and_nobody_else() {
    let daemon = world().await;
    let mut publisher = daemon.ws().await;
    let (mut one, mut other) = (daemon.ws().await, daemon.ws().await);
    subscribe(&mut one, "live/a", None).await;
    subscribe(&mut one, "kept/a", None).await;
    subscribe(&mut other, "live/a", None).await;
    assert_eq!(daemon.metric("callway_subscriptions").await, 3.0);
    for number in 0..100 {
        publish(&mut publisher, "live/a", json!({"n": number})).await;
    }
    publish(&mut publisher, "live/b", json!("elsewhere")).await;
    publish(&mut publisher, "kept/a", json!(["é\n", 22.50])).await;
    for number in 0..100 {
        assert_eq!(event(&mut one).await, json!({"n": number}));
        assert_eq!(event(&mut other).await, json!({"n": number}));
    }
    let told = one
        .find(|message| message["params"]["channel"] == "kept/a")
        .await;
    let event = &told["params"];
    assert_eq!(event["payload"], json!(["é\n", 22.5]));
    for member in ["id", "position", "time"] {
        assert!(event[member].is_string(), "{event}");
    }
    let unsubscribed = other
        .call("callway.unsubscribe", json!({"channel": "live/a"}))
        .await;
    assert_eq!(unsubscribed, Ok(json!({"unsubscribed": true})));
    publish(&mut publisher, "live/a", json!("late")).await;
    assert_eq!(self::event(&mut one).await, "late");
    assert!(other.is_quiet(Duration::from_millis(100)).await);
    one.close().await;
    crate::eventually!(daemon.metric("callway_subscriptions").await == 0.0);
}

#[tokio::test]
async fn the_past_is_kept_across_a_kill_without_gap_or_double() {
    let mut daemon = world().await;
    let mut client = daemon.ws().await;
    let first = publish(&mut client, "kept/a", json!(0)).await;
    for number in 1..50 {
        publish(&mut client, "kept/a", json!(number)).await;
    }
    daemon.restart().await;
    let (mut client, mut reader) = (daemon.ws().await, daemon.ws().await);
    let writing = async {
        for number in 50..300 {
            publish(&mut client, "kept/a", json!(number)).await;
        }
    };
    let reading = async {
        let subscribed = subscribe(&mut reader, "kept/a", Some(&first)).await;
        assert_eq!(subscribed["recovered"], true);
        for number in 1..300 {
            assert_eq!(event(&mut reader).await, number);
        }
        assert!(reader.is_quiet(Duration::from_millis(100)).await);
    };
    tokio::join!(writing, reading);

    let query = json!({"channel": "kept/a", "count": 3});
    let past = client.call("callway.history", query).await.unwrap();
    let payloads: Vec<_> = past["events"].as_array().unwrap().iter().collect();
    assert_eq!(payloads.len(), 3);
    assert_eq!(
        (&payloads[0]["payload"], &payloads[2]["payload"]),
        (&json!(297), &json!(299))
    );
    assert_eq!(payloads[2]["position"], past["position"]);
    let query = json!({"channel": "kept/a", "count": 2, "since": first});
    let past = client.call("callway.history", query).await.unwrap();
    assert_eq!(past["events"][0]["payload"], 1);
}

#[tokio::test]
async fn recovered_is_said_only_where_nothing_is_missing() {
    let mut daemon = world().await;
    let mut client = daemon.ws().await;
    let mut positions = Vec::new();
    for number in 0..4 {
        positions.push(publish(&mut client, "short/a", json!(number)).await);
    }
    let recovered = async |since: &str| {
        let mut reader = daemon.ws().await;
        subscribe(&mut reader, "short/a", Some(since)).await["recovered"] == true
    };
    assert!(!recovered(&positions[0]).await);
    assert!(recovered(&positions[1]).await);
    assert!(recovered(&positions[3]).await);
    let (epoch, seq) = positions[3].split_once(':').unwrap();
    let next = seq.parse::<u64>().unwrap() + 1;
    assert!(!recovered(&format!("{epoch}:{next}")).await, "of a future");
    assert!(
        !recovered(&format!("{epoch}1:{seq}")).await,
        "of another world"
    );
    let lively = publish(&mut client, "live/a", json!(1)).await;
    let mut reader = daemon.ws().await;
    let subscribed = subscribe(&mut reader, "live/a", Some(&lively)).await;
    assert_eq!(subscribed["recovered"], true, "nothing happened since");
    publish(&mut client, "live/a", json!(2)).await;
    let subscribed = subscribe(&mut daemon.ws().await, "live/a", Some(&lively)).await;
    assert_eq!(subscribed["recovered"], false);
    daemon.restart().await;
    let subscribed = subscribe(&mut daemon.ws().await, "live/a", Some(&lively)).await;
    assert_eq!(
        subscribed["recovered"], false,
        "who knows what happened meanwhile"
    );
}

#[tokio::test]
async fn scriptr_clients_hear_the_payload_itself() {
    let daemon = world().await;
    let mut rpc = daemon.ws().await;
    subscribe(&mut rpc, "live/a", None).await;
    let mut scriptr = Ws::connect(&daemon.ws_url("/"), TOKEN).await;
    assert_eq!(scriptr.next().await["result"], "connected.");
    scriptr
        .send(r#"{"method":"Subscribe","params":{"channel":"live/a"},"id":1}"#)
        .await;
    let acknowledged = scriptr.next().await;
    assert_eq!(acknowledged["status"], "success");
    assert_eq!(acknowledged["statusCode"], "200");
    assert!(acknowledged.get("result").is_none());
    publish(&mut rpc, "live/a", json!({"id": "tag", "result": 7})).await;
    assert_eq!(scriptr.next_text().await, r#"{"id":"tag","result":7}"#);
    scriptr
        .send(r#"{"method":"Publish","params":{"apsdb.channel":"live/a","apsdb.message":"{'m':'hey'}"},"id":2}"#)
        .await;
    // Its own event and the acknowledgement, in either order.
    let mut frames = [scriptr.next_text().await, scriptr.next_text().await];
    frames.sort_by_key(|frame| frame.contains("status"));
    assert_eq!(frames[0], "{'m':'hey'}");
    assert!(frames[1].contains(r#""status":"success""#), "{frames:?}");
    assert_eq!(event(&mut rpc).await, json!({"id": "tag", "result": 7}));
    assert_eq!(event(&mut rpc).await, "{'m':'hey'}");
    for (command, channel, status, code) in [
        ("Publish", "nowhere", "404", "CHANNEL_NOT_FOUND"),
        ("Subscribe", "nowhere", "404", "CHANNEL_NOT_FOUND"),
        ("Subscribe", "a/#", "400", "INVALID_PARAMETER_VALUE"),
    ] {
        let params = json!({"channel": channel, "message": 1});
        let frame = json!({"method": command, "params": params, "id": 3});
        scriptr.send(frame.to_string()).await;
        let refused = scriptr.next().await;
        assert_eq!(
            (&refused["statusCode"], &refused["errorCode"]),
            (&json!(status), &json!(code))
        );
    }
    let typo = json!({"method": "Unscubscribe", "params": {"channel": ["live/a"]}, "id": 4});
    scriptr.send(typo.to_string()).await;
    assert_eq!(scriptr.next().await["status"], "success");
    publish(&mut rpc, "live/a", json!(1)).await;
    assert!(scriptr.is_quiet(Duration::from_millis(100)).await);

    let mut powerless = Ws::connect(&daemon.ws_url("/"), POWERLESS).await;
    powerless.next().await;
    let frame = r#"{"method":"Publish","params":{"channel":"live/a","message":"x"}}"#;
    powerless.send(frame).await;
    assert_eq!(powerless.next().await["errorCode"], "PERMISSION_DENIED");
}

#[tokio::test]
async fn a_drain_waits_for_what_is_on_its_way_to_the_disk() {
    let mut daemon = world().await;
    let mut client = daemon.ws().await;
    let mut reader = daemon.ws().await;
    subscribe(&mut reader, "kept/a", None).await;
    for number in 0..500 {
        let params = json!({"channel": "kept/a", "payload": number});
        client.request("callway.publish", params).await;
    }
    client.response(1).await;
    let pid = daemon.pid();
    assert_eq!(daemon.stop().await, 0, "{pid}");
    let mut acknowledged = 1;
    while let Some(answer) = client.next_or_close().await {
        acknowledged += usize::from(answer.get("result").is_some());
    }
    assert_eq!(reader.close_code().await, 1001);
    daemon.restart().await;
    let query = json!({"channel": "kept/a", "count": 1000});
    let past = daemon
        .ws()
        .await
        .call("callway.history", query)
        .await
        .unwrap();
    let kept = past["events"].as_array().unwrap().len();
    assert!(kept >= acknowledged, "{kept} of {acknowledged}");
}

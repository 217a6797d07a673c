//! Many readers, and slow ones.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{event, publish, subscribe, world};
use crate::support::{PATIENCE, TOKEN, Ws};

#[tokio::test]
async fn a_thousand_subscribers_get_everything_in_order() {
    let daemon = world().await;
    let mut readers = Vec::new();
    for _ in 0..1000 {
        let mut reader = daemon.ws().await;
        subscribe(&mut reader, "live/all", None).await;
        readers.push(reader);
    }
    let mut publisher = daemon.ws().await;
    for number in 0..20 {
        publish(&mut publisher, "live/all", json!(number)).await;
    }
    for reader in &mut readers {
        for number in 0..20 {
            assert_eq!(event(reader).await, number);
        }
    }
    let accepted = r#"callway_events_total{via="ws",outcome="accepted"}"#;
    assert_eq!(daemon.metric(accepted).await, 20.0);
}

/// Publishes until the metric says that somebody was cut, or it takes too long.
async fn flood(daemon: &crate::support::Daemon, channel: &str, witness: &mut Ws) {
    let mut publisher = daemon.ws().await;
    let text = "x".repeat(20_000);
    let cut = r#"callway_limit_reached_total{limit="send_queue"}"#;
    let end = Instant::now() + PATIENCE;
    let mut number = 0;
    while daemon.metric(cut).await < 1.0 {
        assert!(Instant::now() < end, "the slow reader is never cut");
        for _ in 0..20 {
            publish(&mut publisher, channel, json!([number, text])).await;
            assert_eq!(event(witness).await[0], number);
            number += 1;
        }
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_with_4008() {
    for channel in ["live/a", "kept/a"] {
        let daemon = world().await;
        let mut witness = daemon.ws().await;
        subscribe(&mut witness, channel, None).await;
        let mut slow = daemon.ws().await;
        subscribe(&mut slow, channel, None).await;
        flood(&daemon, channel, &mut witness).await;
        assert_eq!(slow.close_code().await, 4008, "{channel}");
        crate::eventually!(daemon.metric("callway_subscriptions").await == 1.0);
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_cut() {
    let daemon = world().await;
    let mut witness = daemon.ws().await;
    subscribe(&mut witness, "live/a", None).await;
    let mut slow = TcpStream::connect(daemon.address).await.unwrap();
    let request = format!(
        "GET /api/channels/live/a?token={TOKEN} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n"
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    crate::eventually!(daemon.metric("callway_subscriptions").await == 2.0);
    flood(&daemon, "live/a", &mut witness).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection ends");
    crate::eventually!(daemon.metric("callway_subscriptions").await == 1.0);
}

#[tokio::test]
async fn a_reader_that_was_away_for_long_catches_up_while_others_go_on() {
    let daemon = world().await;
    let mut publisher = daemon.ws().await;
    let text = "x".repeat(5_000);
    let first = publish(&mut publisher, "kept/a", json!(["start"])).await;
    for number in 0..1000 {
        let params = json!({"channel": "kept/a", "payload": [number, text]});
        publisher.request("callway.publish", params).await;
    }
    publish(&mut publisher, "kept/a", json!(["end"])).await;
    let mut late = daemon.ws().await;
    let subscribed = subscribe(&mut late, "kept/a", Some(&first)).await;
    assert_eq!(subscribed["recovered"], true);
    // Not read for a while, which is not yet too slow.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for number in 0..1000 {
        assert_eq!(event(&mut late).await[0], number);
    }
    assert_eq!(event(&mut late).await[0], "end");
}

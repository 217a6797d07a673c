//! An event over which the broker closes the connection.

use std::time::Duration;

use serde_json::json;

use crate::support::{Message, Mosquitto, Mqtt, Setup, Version};

/// Eight reconnects, with longer and longer waits between them.
const PROVED: Duration = Duration::from_secs(90);

#[tokio::test]
async fn an_event_that_costs_the_link_again_and_again_is_dead_and_the_others_arrive() {
    let broker = Mosquitto::start_with(&["max_packet_size 3000"]).await;
    let daemon = Setup::new()
        .config(&format!(
            r#"
            [bus.field]
            url = "{}"
            protocol = 4
            calls = ""
            [[channel]]
            name = "out/{{key}}"
            mqtt = {{ bus = "field", topic = "out/{{key}}", qos = 1, direction = "out" }}
            "#,
            broker.url()
        ))
        .start()
        .await;
    daemon.link_is("field", "up").await;
    let mut device = Mqtt::connect(broker.port, Version::V4).await;
    device.subscribe("out/#").await;
    let mut client = daemon.ws().await;
    for key in 1..=9 {
        // MQTT 3.1.1 has no word for how much a broker takes.
        let payload = if key == 5 {
            "x".repeat(5000)
        } else {
            key.to_string()
        };
        let event = json!({"channel": format!("out/{key}"), "payload": payload});
        client.call("callway.publish", event).await.unwrap();
    }
    crate::eventually!(
        daemon.metric("callway_dead_letters").await == 1.0
            && daemon.metric(r#"callway_spool_messages{queue="bus/field"}"#).await == 0.0,
        within PROVED
    );
    let mut last = Message::new("out/last", "\"last\"");
    last.qos = 1;
    let mut other = Mqtt::connect(broker.port, Version::V4).await;
    other.publish(&last).await.unwrap();
    let mut heard = std::collections::BTreeSet::new();
    loop {
        let message = device.next().await;
        if message.topic == "out/last" {
            break;
        }
        heard.insert(message.topic);
    }
    let expected = (1..=9).filter(|key| *key != 5);
    assert!(
        heard
            .into_iter()
            .eq(expected.map(|key| format!("out/{key}")))
    );
    let dead = daemon.command(&["dead", "list"]).await;
    let dead = String::from_utf8(dead.stdout).unwrap();
    assert!(dead.contains("out/5"), "{dead}");
}

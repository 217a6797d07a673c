//! What is published to a thread from anywhere reaches its sockets.

use serde_json::json;

use super::{SOON, ask, connect, connect_to, publish, setup, text};
use crate::support::{Message, Mosquitto, Mqtt, Version};

#[tokio::test]
async fn a_push_is_received_in_every_socket_of_its_thread() {
    let daemon = setup("").start().await;
    let mut one = connect_to(&daemon, "first", "t|first").await;
    let mut two = connect_to(&daemon, "first", "t|first").await;
    let mut other = connect_to(&daemon, "first", "u|first").await;
    // Each is in its thread once it was answered.
    assert_eq!(text(&ask(&mut one, "t|first", "1").await), "you said 1");
    assert_eq!(
        text(&two.next().await),
        "you said 1",
        "replies reach all of them"
    );
    ask(&mut other, "u|first", "2").await;

    publish(&daemon, "flow/t%257Cfirst", &json!("plain")).await;
    let shaped = json!({"messages": [{"responses": []}], "threadId": "u|first", "mood": 1});
    publish(&daemon, "flow/t%257Cfirst", &shaped).await;
    let typing = json!({"type": "agent.typing", "payload": {"name": "Jo"}});
    publish(&daemon, "flow/t%257Cfirst", &typing).await;
    let forged = json!({"type": "message.send", "payload": {"speech": "not a push"}});
    publish(&daemon, "flow/t%257Cfirst", &forged).await;
    for socket in [&mut one, &mut two] {
        assert_eq!(text(&socket.next().await), "plain");
        let pushed = socket.next().await;
        assert_eq!(pushed["payload"]["threadId"], "t|first");
        assert_eq!(pushed["payload"]["mood"], 1);
        assert_eq!(socket.next().await, typing);
        assert!(socket.is_quiet(SOON).await);
    }
    assert!(other.is_quiet(SOON).await);
}

#[tokio::test]
async fn a_devices_telemetry_starts_a_push() {
    let mosquitto = Mosquitto::start().await;
    let daemon = setup("")
        .config(&format!(
            r#"
            [bus.field]
            url = "{}"
            [[channel]]
            name = "telemetry/{{device}}"
            mqtt = {{ bus = "field", topic = "devices/{{device}}/telemetry", direction = "in" }}
            call = "alarm/{{device}}"
            call_as = "tester"
            [[route]]
            method = "alarm/{{device}}"
            script = "alarm.js"
            "#,
            mosquitto.url()
        ))
        .script(
            "alarm.js",
            r#"if (request.body.celsius > 30) publish("flow/jane.doe", "it is " + request.body.celsius + " °C in the greenhouse");"#,
        )
        .start()
        .await;
    daemon.link_is("field", "up").await;
    let mut socket = connect(&daemon, "first").await;
    ask(&mut socket, "jane.doe", "hi").await;
    let mut device = Mqtt::connect(mosquitto.port, Version::V5).await;
    for celsius in [21.5, 30.5] {
        let reading = json!({ "celsius": celsius }).to_string();
        let message = Message {
            qos: 1,
            ..Message::new("devices/greenhouse/telemetry", reading)
        };
        device.publish(&message).await;
    }
    assert_eq!(
        text(&socket.next().await),
        "it is 30.5 °C in the greenhouse"
    );
}

//! MQTT, both ways: devices answer calls and make calls, on a real mosquitto, with MQTT 5 and
//! 3.1.1.

mod calls;
mod devices;
mod disliked;
mod inside;
mod outages;
mod receiving;
mod wire;

use crate::support::{Daemon, Mosquitto, Setup};

/// Two buses on one broker, `five` with MQTT 5 and `four` with 3.1.1, and routes to devices.
fn setup(broker: &Mosquitto) -> Setup {
    Setup::new().config(&format!(
        r#"
        [cluster]
        instance = "gw-1"
        [bus.five]
        url = "{url}"
        calls = "five/call"
        reply_topics = ["reply/+"]
        [bus.four]
        url = "{url}"
        protocol = 4
        calls = "four/call"
        reply_topics = ["reply/+"]
        [[route]]
        method = "device/{{name}}"
        mqtt = {{ bus = "five", topic = "device/{{name}}" }}
        timeout = "5s"
        [[route]]
        method = "sure/{{name}}"
        mqtt = {{ bus = "five", topic = "device/{{name}}", qos = 1 }}
        timeout = "5s"
        [[route]]
        method = "rpc/{{name}}"
        mqtt = {{ bus = "five", topic = "device/{{name}}", format = "jsonrpc" }}
        timeout = "5s"
        [[route]]
        method = "old/{{name}}"
        mqtt = {{ bus = "four", topic = "device/{{name}}" }}
        timeout = "5s"
        [[route]]
        method = "hasty/{{name}}"
        mqtt = {{ bus = "five", topic = "device/{{name}}" }}
        timeout = "300ms"
        [[route]]
        method = "work/{{name}}"
        worker = {{}}
        timeout = "5s"
        "#,
        url = broker.url(),
    ))
}

async fn start(broker: &Mosquitto) -> Daemon {
    let daemon = setup(broker).start().await;
    daemon.link_is("five", "up").await;
    daemon.link_is("four", "up").await;
    daemon
}

/// How many messages were dropped for a reason.
async fn dropped(daemon: &Daemon, reason: &str) -> f64 {
    let name = format!(r#"callway_dropped_total{{via="mqtt",reason="{reason}"}}"#);
    daemon.metric(&name).await
}

//! Devices that connect straight to callway, with MQTT 5 and 3.1.1. The scenarios are those that
//! are known for brokers; the bytes are the tests' own.

mod calls;
mod certificates;
mod channels;
mod clients;
mod commands;
mod device;
mod example;
mod flow;
mod hostile;
mod once;
mod retained;
mod scriptr;
mod sessions;
mod wills;
mod workers;

use self::device::{Device, Hello};
use crate::support::{Daemon, Setup, Version, free_port};

/// May do little: its own telemetry, and what concerns everyone.
const DEVICE: &str = "cw_token-of-a-device";

/// A callway with a plain MQTT listener and every topic a channel.
struct World {
    daemon: Daemon,
    port: u16,
}

impl World {
    async fn start() -> World {
        World::with("").await
    }

    async fn with(config: &str) -> World {
        let port = free_port();
        let daemon = setup(port, config).start().await;
        World { daemon, port }
    }

    /// Connects a client of the tester with a clean session.
    async fn device(&self, version: Version, client: &str) -> Device {
        let hello = Hello::new(version, client);
        Device::connect(self.port, &hello).await.0
    }
}

fn setup(port: u16, config: &str) -> Setup {
    let device = callway::auth::digest(DEVICE);
    Setup::new()
        .config(&format!(
            r#"
            [[listen]]
            address = "127.0.0.1:{port}"
            [[listen.endpoint]]
            dialect = "mqtt"
            queue = 20
            [[token]]
            name = "device"
            sha256 = "{device}"
            call = ["greet"]
            publish = ["telemetry/{{caller}}/{{path...}}"]
            subscribe = ["telemetry/{{caller}}/{{path...}}", "news"]
            serve = ["devices/{{caller}}/{{verb}}"]
            [[channel]]
            name = "{{path...}}"
            [[route]]
            method = "greet"
            script = "greet.js"
            timeout = "5s"
            [[route]]
            method = "devices/{{path...}}"
            worker = {{}}
            timeout = "5s"
            [[route]]
            method = "noted/{{name}}"
            worker = {{}}
            one_way = true
            {config}
            "#
        ))
        .script("greet.js", r#"return "hello " + request.body.name;"#)
}

const BOTH: [Version; 2] = [Version::V5, Version::V4];

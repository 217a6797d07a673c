//! How callway starts and ends: with brokers away, with work in flight, under a service manager.

use std::time::{Duration, Instant};

use lapin::options::QueueDeclareOptions;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::UnixDatagram;

use crate::eventually;
use crate::support::caller::{self, BUSES, Caller, TRANSPORTS};
use crate::support::{Amqp, Daemon, Message, Mosquitto, Mqtt, PATIENCE, Rabbit, Setup, Version};

const DEVICE: &str = r#"
    [[route]]
    method = "device"
    mqtt = { bus = "field5", topic = "device" }
    [[route]]
    method = "echo"
    script = "echo.js"
"#;

/// A daemon behind all transports, a device whose answers the test decides about, and one call
/// under way over each transport.
struct Busy {
    mosquitto: Mosquitto,
    rabbit: Rabbit,
    daemon: Daemon,
    device: Mqtt,
    requests: Vec<Message>,
    calls: tokio::task::JoinSet<(&'static str, Result<Value, String>)>,
}

impl Busy {
    async fn start(limits: &str) -> Busy {
        let (mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
        let daemon = setup(&mosquitto, &rabbit).config(limits).start().await;
        for bus in BUSES {
            daemon.link_is(bus, "up").await;
        }
        let mut device = Mqtt::connect(mosquitto.port, Version::V5).await;
        device.subscribe("device").await;
        let mut calls = tokio::task::JoinSet::new();
        for way in TRANSPORTS {
            let mut caller = Caller::connect(way, &daemon, &mosquitto, &rabbit).await;
            calls.spawn(async move { (way, caller.call("device", &json!([way])).await) });
        }
        let mut requests = Vec::new();
        for _ in TRANSPORTS {
            requests.push(device.next().await);
        }
        Busy {
            mosquitto,
            rabbit,
            daemon,
            device,
            requests,
            calls,
        }
    }

    async fn answer_all(&mut self) {
        for request in self.requests.drain(..) {
            let mut reply =
                Message::new(request.response_topic.as_deref().unwrap(), request.payload);
            reply.correlation = request.correlation;
            self.device.publish(&reply).await.unwrap();
        }
    }

    /// The outcome of every call.
    async fn outcomes(&mut self) -> Vec<(&'static str, Result<Value, String>)> {
        let mut outcomes = Vec::new();
        while let Some(outcome) = self.calls.join_next().await {
            outcomes.push(outcome.unwrap());
        }
        outcomes
    }

    /// How many calls the broker still keeps, for want of an acknowledgement.
    async fn left_in_queue(&self) -> u32 {
        let client = Amqp::connect(&self.rabbit.url()).await;
        let passive = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let queue =
            client
                .channel
                .queue_declare("callway.calls".into(), passive, Default::default());
        queue.await.unwrap().message_count()
    }
}

fn setup(mosquitto: &Mosquitto, rabbit: &Rabbit) -> Setup {
    Setup::new()
        .config(&caller::buses(mosquitto, rabbit))
        .config(DEVICE)
        .script("echo.js", "return request.body;")
        .script("relay.js", caller::RELAY_JS)
        .script("relay.lua", caller::RELAY_LUA)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_what_is_under_way_finish() {
    let mut busy = Busy::start("").await;
    let mut idle = busy.daemon.ws().await;
    busy.daemon.signal(Signal::TERM);
    assert_eq!(
        idle.close_code().await,
        1001,
        "who has nothing to wait for is let go"
    );
    assert!(busy.daemon.admin().get("/readyz").await.status == 503);
    eventually!(
        tokio::net::TcpStream::connect(busy.daemon.address)
            .await
            .is_err()
    );

    busy.answer_all().await;
    for (way, outcome) in busy.outcomes().await {
        assert_eq!(outcome, Ok(json!([way])), "{way}");
    }
    assert_eq!(
        busy.daemon.ended().await.code(),
        Some(0),
        "{}",
        busy.daemon.log()
    );
    eventually!(busy.left_in_queue().await == 0);
    drop(busy.mosquitto);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_finish_is_told_so() {
    let mut busy = Busy::start("[limits]\ndrain = \"300ms\"\n").await;
    busy.daemon.signal(Signal::TERM);
    for (way, outcome) in busy.outcomes().await {
        assert_eq!(outcome, Err("shutting_down".into()), "{way}");
    }
    assert_eq!(busy.daemon.ended().await.code(), Some(0));
    eventually!(busy.left_in_queue().await == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let mut busy = Busy::start("").await;
    busy.daemon.signal(Signal::TERM);
    eventually!(busy.daemon.log().contains("draining"));
    let second = Instant::now();
    busy.daemon.signal(Signal::INT);
    let status = busy.daemon.ended().await;
    assert_ne!(status.code(), Some(0), "calls were cut off");
    assert!(
        second.elapsed() < Duration::from_secs(2),
        "{:?}",
        second.elapsed()
    );
    busy.calls.abort_all();
}

#[tokio::test]
async fn an_idle_callway_ends_quickly() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
        let mut daemon = setup(&mosquitto, &rabbit).start().await;
        for bus in BUSES {
            daemon.link_is(bus, "up").await;
        }
        let start = Instant::now();
        daemon.signal(signal);
        assert_eq!(daemon.ended().await.code(), Some(0));
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    }
}

#[tokio::test]
async fn a_bus_that_is_away_stops_nothing() {
    let (mut mosquitto, rabbit) = tokio::join!(Mosquitto::start(), Rabbit::shared());
    mosquitto.kill();
    let daemon = setup(&mosquitto, &rabbit).start().await;
    let mut socket = daemon.ws().await;
    let start = Instant::now();
    assert_eq!(
        socket.call("device", json!({})).await,
        Err("unavailable".into())
    );
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "it does not wait for the broker"
    );
    assert_eq!(socket.call("echo", json!([1])).await, Ok(json!([1])));
    daemon.link_is("office", "up").await;
    let state = daemon.admin().get("/readyz").await.json()["links"]["field5"].clone();
    assert_ne!(state, "up");

    mosquitto.restart().await;
    daemon.link_is("field5", "up").await;
    let mut device = Mqtt::connect(mosquitto.port, Version::V5).await;
    device.subscribe("device").await;
    let id = socket.request("device", json!(["now"])).await;
    let request = device.next().await;
    let mut reply = Message::new(request.response_topic.as_deref().unwrap(), request.payload);
    reply.correlation = request.correlation;
    device.publish(&reply).await.unwrap();
    assert_eq!(socket.response(id).await["result"], json!(["now"]));
}

#[tokio::test]
async fn the_service_manager_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut daemon = Setup::new()
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .env("WATCHDOG_USEC", "300000")
        .spawn();
    told(&manager, "READY=1").await;
    told(&manager, "STATUS=").await;
    for _ in 0..3 {
        told(&manager, "WATCHDOG=1").await;
    }
    daemon.signal(Signal::TERM);
    told(&manager, "STOPPING=1").await;
    assert_eq!(daemon.ended().await.code(), Some(0));
}

/// Waits until the service manager is told this.
async fn told(manager: &UnixDatagram, word: &str) {
    let listening = async {
        let mut buffer = [0; 4096];
        loop {
            let length = manager.recv(&mut buffer).await.unwrap();
            let message = String::from_utf8_lossy(&buffer[..length]);
            if message.lines().any(|line| line.starts_with(word)) {
                return;
            }
        }
    };
    let heard = tokio::time::timeout(PATIENCE, listening).await;
    heard.unwrap_or_else(|_| panic!("never told {word}"));
}

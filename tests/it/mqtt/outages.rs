//! Brokers that go away, stall, refuse, or talk nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::start;
use crate::support::{Message, Mosquitto, Mqtt, Setup, TOKEN, Version, free_port};

fn one_bus(url: &str, more: &str) -> Setup {
    Setup::new().config(&format!(
        r#"
        [bus.field]
        url = "{url}"
        calls = "field/call"
        reply_topics = ["reply/+"]
        {more}
        [[route]]
        method = "device/{{name}}"
        mqtt = {{ bus = "field", topic = "device/{{name}}" }}
        [[route]]
        method = "sure/{{name}}"
        mqtt = {{ bus = "field", topic = "device/{{name}}", qos = 1 }}
        "#
    ))
}

/// A call both ways: in over MQTT, out to a device.
async fn round_trip(broker: &Mosquitto, prefix: &str) {
    let mut device = Mqtt::connect(broker.port, Version::V5).await;
    device.subscribe("device/lamp").await;
    let mut caller = Mqtt::connect(broker.port, Version::V5).await;
    caller.subscribe("reply/1").await;
    let call = Message::new(&format!("{prefix}/call/device/lamp"), "{}")
        .reply_to("reply/1", "c")
        .user("token", TOKEN);
    caller.publish(&call).await;
    let request = device.next().await;
    let mut reply = Message::new(request.response_topic.as_deref().unwrap(), "\"lit\"");
    reply.correlation = request.correlation;
    device.publish(&reply).await;
    assert_eq!(caller.next().await.json(), "lit");
}

#[tokio::test]
async fn calls_fail_at_once_while_the_broker_is_away_and_work_again_after() {
    let mut broker = Mosquitto::start().await;
    let daemon = start(&broker).await;
    round_trip(&broker, "five").await;
    let mut caller = daemon.ws().await;
    for _ in 0..3 {
        let waiting = caller.request("device/lamp", json!({})).await;
        let surely = caller.request("old/lamp", json!({})).await;
        crate::eventually!(daemon.metric("callway_calls_in_flight").await == 2.0);
        let killed = Instant::now();
        broker.kill();
        for id in [waiting, surely] {
            let fault = &caller.response(id).await["error"]["data"];
            assert_eq!(fault["kind"], "unavailable");
            assert_eq!(fault["detail"]["reason"], "link_lost");
        }
        assert!(
            killed.elapsed() < Duration::from_secs(2),
            "long before the deadline"
        );
        daemon.link_is("five", "down").await;
        daemon.link_is("four", "down").await;
        for method in ["device/lamp", "sure/lamp", "old/lamp"] {
            let asked = Instant::now();
            let id = caller.request(method, json!({})).await;
            let fault = &caller.response(id).await["error"]["data"];
            assert_eq!(fault["kind"], "unavailable", "{method}");
            assert_eq!(fault["detail"]["reason"], "link_down", "{method}");
            assert!(fault["retry_after"].is_u64());
            assert!(asked.elapsed() < Duration::from_millis(100));
        }
        broker.restart().await;
        daemon.link_is("five", "up").await;
        daemon.link_is("four", "up").await;
        round_trip(&broker, "five").await;
    }
}

#[tokio::test]
async fn callway_starts_without_its_broker() {
    let port = free_port();
    let daemon = one_bus(&format!("mqtt://127.0.0.1:{port}"), "")
        .start()
        .await;
    let mut caller = daemon.ws().await;
    assert_eq!(
        caller.call("device/lamp", json!({})).await,
        Err("unavailable".into())
    );
    daemon.link_is("field", "down").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let log = daemon.log();
    assert_eq!(log.matches("WARN").count(), 1, "not with every try: {log}");
}

#[tokio::test]
async fn a_stalled_broker_is_a_timeout_and_touches_nothing_else() {
    let broker = Mosquitto::start().await;
    let other = Mosquitto::start().await;
    let more = format!(
        r#"
        [bus.other]
        url = "{}"
        calls = "other/call"
        reply_topics = ["reply/+"]
        [[route]]
        method = "hasty/{{name}}"
        timeout = "400ms"
        mqtt = {{ bus = "field", topic = "device/{{name}}" }}
        "#,
        other.url()
    );
    let daemon = one_bus(&broker.url(), &more)
        .config(
            r#"
            [[route]]
            method = "elsewhere/{name}"
            mqtt = { bus = "other", topic = "device/{name}" }
            "#,
        )
        .start()
        .await;
    daemon.link_is("field", "up").await;
    daemon.link_is("other", "up").await;
    let mut caller = daemon.ws().await;
    broker.pause();
    let stalled = Instant::now();
    let waiting = caller.request("device/lamp", json!({})).await;
    for _ in 0..2 {
        let asked = Instant::now();
        assert_eq!(
            caller.call("hasty/lamp", json!({})).await,
            Err("timeout".into())
        );
        let took = asked.elapsed().as_millis();
        assert!((390..700).contains(&took), "{took} ms");
    }
    daemon.link_is("field", "down").await;
    assert!(stalled.elapsed() < Duration::from_secs(3));

    let mut device = Mqtt::connect(other.port, Version::V5).await;
    device.subscribe("device/lamp").await;
    let id = caller.request("elsewhere/lamp", json!({})).await;
    let request = device.next().await;
    let mut reply = Message::new(request.response_topic.as_deref().unwrap(), "1");
    reply.correlation = request.correlation;
    device.publish(&reply).await;
    assert_eq!(caller.response(id).await["result"], 1);

    broker.resume();
    daemon.link_is("field", "up").await;
    round_trip(&broker, "field").await;
    caller
        .send(
            json!({"jsonrpc": "2.0", "method": "callway.cancel", "params": {"id": waiting}})
                .to_string(),
        )
        .await;
}

/// One packet: its first byte, and what follows its length, which is below 16 KiB here.
pub async fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let mut length = usize::from(stream.read_u8().await.ok()?);
    if length > 0x7f {
        length = length & 0x7f | usize::from(stream.read_u8().await.ok()?) << 7;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

/// A broker that takes every subscription but the one of the call topics, and that one only for
/// the second time.
async fn reluctant_broker() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let refusals = Arc::new(AtomicUsize::new(1));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let refusals = refusals.clone();
            tokio::spawn(async move {
                while let Some((kind, body)) = packet(&mut stream).await {
                    let calls = body.ends_with(b"field/call/#\x21");
                    let refused = calls && refusals.swap(0, Ordering::Relaxed) > 0;
                    let answer = match kind {
                        0x10 => vec![0x20, 3, 0, 0, 0],
                        0x82 if refused => vec![0x90, 4, body[0], body[1], 0, 0x87],
                        0x82 => vec![0x90, 4, body[0], body[1], 0, 0x01],
                        0xa2 => vec![0xb0, 4, body[0], body[1], 0, 0x11],
                        0xc0 => vec![0xd0, 0],
                        _ => continue,
                    };
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_refused_subscription_is_shown_and_tried_again() {
    let daemon = one_bus(&reluctant_broker().await, "").start().await;
    crate::eventually!(
        daemon
            .log()
            .contains("refuses the subscription of field/call/#")
    );
    daemon.link_is("field", "down").await;

    // Calls out do not need it, so this one is on its way and not refused.
    let mut caller = daemon.ws().await;
    let outcome = caller.request("device/lamp", json!({})).await;
    let silent = tokio::time::timeout(Duration::from_millis(300), caller.response(outcome)).await;
    assert!(silent.is_err(), "{silent:?}");

    daemon.link_is("field", "up").await;
    assert_eq!(daemon.log().matches("link down").count(), 1, "told once");
}

#[tokio::test]
async fn a_login_and_tls_are_used() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str| files.path().join(name).display().to_string();
    std::fs::write(at("cert.pem"), certificate.cert.pem()).unwrap();
    std::fs::write(at("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c", &at("users"), "callway", "s3cret-of-the-broker"])
        .status();
    assert!(made.unwrap().success());
    let broker = Mosquitto::start_with(&[
        "allow_anonymous false",
        &format!("password_file {}", at("users")),
        &format!("certfile {}", at("cert.pem")),
        &format!("keyfile {}", at("key.pem")),
    ])
    .await;
    let url = |login: &str| format!("mqtts://{login}@localhost:{}", broker.port);
    let ca = format!("ca = {:?}", at("cert.pem"));

    let good = one_bus(&url("callway:s3cret-of-the-broker"), &ca)
        .start()
        .await;
    good.link_is("field", "up").await;
    let stranger = one_bus(&url("callway:guess"), &ca).start().await;
    stranger.link_is("field", "down").await;
    let unknown = one_bus(&url("callway:s3cret-of-the-broker"), "")
        .start()
        .await;
    unknown.link_is("field", "down").await;
    for daemon in [&good, &stranger, &unknown] {
        assert!(!daemon.log().contains("s3cret"));
    }
}

#[tokio::test]
async fn a_broker_that_acknowledges_nothing_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let visits = Arc::new(AtomicUsize::new(0));
    let counter = visits.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                while let Some((kind, body)) = packet(&mut stream).await {
                    let answer = match kind {
                        0x10 => vec![0x20, 3, 0, 0, 0],
                        0x82 => vec![0x90, 4, body[0], body[1], 0, 1],
                        0xa2 => vec![0xb0, 4, body[0], body[1], 0, 0x11],
                        0xc0 => vec![0xd0, 0],
                        _ => continue,
                    };
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    let daemon = one_bus(&url, "").start().await;
    daemon.link_is("field", "up").await;
    // One connection sends, one receives.
    assert_eq!(visits.load(Ordering::Relaxed), 2);
    let mut caller = daemon.ws().await;
    let id = caller.request("sure/lamp", json!({})).await;
    let fault = &caller.response(id).await["error"]["data"];
    assert_eq!(fault["kind"], "unavailable");
    assert_eq!(fault["detail"]["reason"], "link_lost");
    crate::eventually!(visits.load(Ordering::Relaxed) > 2);
}

/// A broker that says the same nonsense to everyone, and counts who came.
async fn hostile_broker(nonsense: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let visits = Arc::new(AtomicUsize::new(0));
    let counter = visits.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let nonsense = nonsense.clone();
            tokio::spawn(async move {
                let mut heard = [0; 512];
                // Reads until callway has had enough.
                while stream.read(&mut heard).await.is_ok_and(|n| n > 0) {
                    if stream.write_all(&nonsense).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (url, visits)
}

#[tokio::test]
async fn a_hostile_broker_costs_only_its_own_routes() {
    let after = |packet: &[u8]| [&[0x20, 3, 0, 0, 0], packet].concat();
    let nonsense = [
        vec![0x20, 3, 0, 0x87, 0], // not authorized
        vec![0x20, 3, 1, 0, 0],    // a session that cannot be
        vec![0xff; 64],            // no packet at all
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        after(&[0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), // a length of five bytes
        after(&[0x30, 0xff, 0xff, 0xff, 0x7f]),          // 256 MiB announced
        after(&[0x30, 3, 0, 0, 0]),                      // an empty topic
        after(&[0x30, 6, 0, 0, 3, 0x23, 0xff, 0xff]),    // an alias out of nowhere
        after(&[0x30, 4, 0, 9, b'x', 0]),                // shorter than it says
        after(&[0x40, 2, 0, 7]),                         // acknowledges nothing
        after(&[0x90, 4, 0, 9, 0, 0]),                   // a subscription of nobody
        after(&[0x62, 2, 0, 1]),
        after(&[0xd0, 0, 0xd0, 0, 0xd0, 1]),
        after(&[0x00, 0]),
        after(&[0xe0, 2, 0x8e, 0]), // taken over by another
    ];
    let good = Mosquitto::start().await;
    let mut setup = one_bus(&good.url(), "");
    let mut brokers = Vec::new();
    for (n, nonsense) in nonsense.into_iter().enumerate() {
        let (url, visits) = hostile_broker(nonsense.clone()).await;
        setup = setup.config(&format!(
            r#"
            [bus.bad{n}]
            url = "{url}"
            [[route]]
            method = "bad{n}/{{name}}"
            mqtt = {{ bus = "bad{n}", topic = "device/{{name}}" }}
            timeout = "1s"
            "#
        ));
        brokers.push((nonsense, visits));
    }
    let daemon = setup.start().await;
    daemon.link_is("field", "up").await;
    let mut caller = daemon.ws().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (n, (nonsense, visits)) in brokers.iter().enumerate() {
        let outcome = caller.call(&format!("bad{n}/lamp"), json!({})).await;
        assert_eq!(outcome, Err("unavailable".into()), "{nonsense:02x?}");
        let visits = visits.load(Ordering::Relaxed);
        assert!(
            (1..=12).contains(&visits),
            "{visits} visits: {nonsense:02x?}"
        );
    }
    round_trip(&good, "field").await;
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

//! Messages that no well-made client can send: written byte by byte.

use callway::observe::LinkState;
use lapin::options::QueueDeclareOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::bridge::{Bridge, CALLS, bus, route};
use super::inside::{Home, Inside};
use super::service::{Service, echo};
use crate::support::{Amqp, Rabbit, TOKEN};

#[tokio::test]
async fn a_property_that_is_no_text_stops_nobody_for_long() {
    let rabbit = Rabbit::shared().await;
    let bridge = Bridge::start(bus(&rabbit), vec![route("a/{x}", "", "service")]).await;
    let _service = Service::start(&rabbit.url(), "service", echo).await;
    let mut client = Amqp::connect(&rabbit.url()).await;
    let mut raw = Raw::connect(&rabbit).await;
    raw.publish_with_broken_type(CALLS).await;
    let reply = client.call(CALLS, "a/b", TOKEN, b"{}").await;
    assert_eq!(reply.status.as_deref(), Some("ok"));
    // The broker itself parks what nobody can read, and only that.
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let dead = || {
        client
            .channel
            .queue_declare("callway.dead".into(), passive, Default::default())
    };
    crate::eventually!(dead().await.unwrap().message_count() == 1);
    bridge.link_is(LinkState::Up).await;
}

#[tokio::test]
async fn an_event_that_nobody_can_read_is_parked_alone() {
    let rabbit = Rabbit::shared().await;
    let client = Amqp::connect(&rabbit.url()).await;
    let mut inside = Inside::start(&Home::new(), &rabbit, &[("t/{x}", "amq.topic", "t.{x}")]);
    inside.link_is(LinkState::Up).await;
    let publish = |body: &'static [u8]| {
        let with = Default::default();
        client.publish("amq.topic", "t.1", body, with)
    };
    publish(b"before").await;
    let mut raw = Raw::connect(&rabbit).await;
    raw.publish_with_broken_type("callway.office.events").await;
    publish(b"after").await;
    let mut seen = Vec::new();
    while !seen.contains(&"after".to_owned()) {
        let taken = inside.next().await;
        seen.push(String::from_utf8(taken.message.body.to_vec()).unwrap());
        taken.delivery.ack();
    }
    assert_eq!(seen[0], "before");
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let dead = || {
        client
            .channel
            .queue_declare("callway.dead".into(), passive, Default::default())
    };
    crate::eventually!(dead().await.unwrap().message_count() == 1);
    inside.link_is(LinkState::Up).await;
    inside.nothing_more().await;
    assert_eq!(dead().await.unwrap().message_count(), 1);
}

/// A connection without a library.
struct Raw(TcpStream);

impl Raw {
    async fn connect(rabbit: &Rabbit) -> Raw {
        let mut raw = Raw(TcpStream::connect(("127.0.0.1", rabbit.port))
            .await
            .unwrap());
        raw.0.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
        raw.answered(10, 10).await;
        let mut ok = vec![0, 0, 0, 0];
        ok.extend(short(b"PLAIN"));
        ok.extend([0, 0, 0, 12]);
        ok.extend(b"\x00guest\x00guest");
        ok.extend(short(b"en_US"));
        raw.method(0, 10, 11, &ok).await;
        raw.answered(10, 30).await;
        raw.method(0, 10, 31, &[0, 10, 0, 0, 0x10, 0, 0, 0]).await;
        let vhost = [short(rabbit.vhost.as_bytes()), short(b""), vec![0]].concat();
        raw.method(0, 10, 40, &vhost).await;
        raw.answered(10, 41).await;
        raw.method(1, 20, 10, &short(b"")).await;
        raw.answered(20, 11).await;
        raw
    }

    /// A body of `{}` with a property `type` that is not UTF-8.
    async fn publish_with_broken_type(&mut self, queue: &str) {
        let publish = [vec![0, 0], short(b""), short(queue.as_bytes()), vec![0]].concat();
        self.method(1, 60, 40, &publish).await;
        let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x00, 0x20];
        header.extend(short(b"\xff\xfe"));
        self.frame(2, 1, &header).await;
        self.frame(3, 1, b"{}").await;
        // Answered only after what came before it.
        self.method(
            1,
            20,
            40,
            &[vec![0, 200], short(b""), vec![0, 0, 0, 0]].concat(),
        )
        .await;
        self.answered(20, 41).await;
    }

    async fn method(&mut self, channel: u8, class: u8, method: u8, arguments: &[u8]) {
        let payload = [&[0, class, 0, method], arguments].concat();
        self.frame(1, channel, &payload).await;
    }

    async fn frame(&mut self, kind: u8, channel: u8, payload: &[u8]) {
        let size = (payload.len() as u32).to_be_bytes();
        let frame = [&[kind, 0, channel], &size[..], payload, &[0xCE]].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    async fn answered(&mut self, class: u8, method: u8) {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).await.unwrap();
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut payload = vec![0; size as usize + 1];
        self.0.read_exact(&mut payload).await.unwrap();
        assert_eq!(payload[..4], [0, class, 0, method]);
    }
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[text.len() as u8], text].concat()
}

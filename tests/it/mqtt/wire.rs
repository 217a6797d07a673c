//! What a link says on the wire, byte by byte.

use callway::call::Kind;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::inside::Home;
use super::outages::packet;
use crate::support::{PATIENCE, Version};

/// A broker that sends the connection that receives six messages, three at QoS 1 and three at
/// QoS 2, and reports the kind and the identifier of each packet that acknowledges one.
async fn generous_broker() -> (String, mpsc::Receiver<(u8, u8)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let (acks, seen) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(generous(stream, acks.clone()));
        }
    });
    (url, seen)
}

async fn generous(mut stream: TcpStream, acks: mpsc::Sender<(u8, u8)>) -> Option<()> {
    let mut receives = false;
    loop {
        let (kind, body) = packet(&mut stream).await?;
        let answer = match kind {
            0x10 => {
                receives = body.ends_with(b"callway-gw-1-field-in");
                vec![0x20, 3, 0, 0, 0]
            }
            0x82 => {
                let mut answer = vec![0x90, 4, body[0], body[1], 0, 2];
                if receives {
                    // Two filters; and then what is for them.
                    answer = vec![0x90, 5, body[0], body[1], 0, 1, 2];
                    for id in 1..=6 {
                        let flags = if id % 2 == 1 { 0x32 } else { 0x34 };
                        answer.extend([flags, 7, 0, 1, b'x', 0, id, 0, b'0' + id]);
                    }
                }
                answer
            }
            0x40 | 0x50 => {
                acks.try_send((kind, body[1])).unwrap();
                continue;
            }
            0xc0 => vec![0xd0, 0],
            _ => continue,
        };
        stream.write_all(&answer).await.ok()?;
    }
}

#[tokio::test]
async fn acknowledgements_are_sent_in_the_order_of_arrival() {
    let (url, mut acks) = generous_broker().await;
    let mut inside = Home::new().start(&url, Version::V5, &["x"]);
    let mut taken = inside.take(6).await;
    let texts: Vec<_> = taken.iter().map(|taken| taken.text.as_str()).collect();
    assert_eq!(texts, ["1", "2", "3", "4", "5", "6"]);

    let first = taken.remove(0);
    for later in taken.into_iter().rev() {
        later.receipt.ack();
    }
    inside.nothing_more().await;
    assert!(acks.try_recv().is_err(), "the oldest is not settled");
    first.receipt.ack();
    for (id, kind) in (1..=6).zip([0x40, 0x50].into_iter().cycle()) {
        let ack = tokio::time::timeout(PATIENCE, acks.recv()).await.unwrap();
        assert_eq!(ack, Some((kind, id)));
    }
}

#[tokio::test]
async fn messages_are_published_in_the_order_of_the_calls_whoever_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let (sender, mut seen) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some((kind, body)) = packet(&mut stream).await {
                    let answer = match kind {
                        0x10 => vec![0x20, 3, 0, 0, 0],
                        0x82 => vec![0x90, 4, body[0], body[1], 0, 1],
                        0x32 => {
                            sender.try_send(body).unwrap();
                            continue;
                        }
                        _ => continue,
                    };
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    let home = Home::new();
    let inside = home.start_with(home.config(&url, Version::V5, &[]), false);
    let message = |text: &'static str| callway::link::mqtt::Message {
        topic: "x".into(),
        payload: text.into(),
        qos: 1,
        ..Default::default()
    };
    let early = inside.link.publish(message("0")).await.unwrap_err();
    assert_eq!(early.kind, Kind::Unavailable);
    inside.link.sendable().await;
    let first = inside.link.publish(message("1"));
    let second = inside.link.publish(message("2"));
    let waits = tokio::spawn(async move { tokio::join!(second, first) });
    for text in [b'1', b'2'] {
        let body = tokio::time::timeout(PATIENCE, seen.recv()).await.unwrap();
        assert_eq!(body.unwrap().last(), Some(&text));
    }
    inside.context.stop.cancel();
    let (second, first) = waits.await.unwrap();
    for outcome in [first, second] {
        let fault = outcome.unwrap_err();
        assert_eq!(fault.kind, Kind::Unavailable);
        assert!(!fault.may_retry(), "nobody knows what became of it");
    }
}

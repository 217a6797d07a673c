//! WebSocket clients that count the events they get, by hand, so that a thousand cost little.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::Failure;
use crate::daemon::Daemon;
use crate::packets::{self, CONNACK, PUBLISH, SUBACK};
use crate::wire::find;
use crate::ws::{self, client_frame, server_frame};

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;

/// Deliveries to all subscribers together.
#[derive(Default)]
pub struct Counter {
    count: AtomicUsize,
    wanted: AtomicUsize,
    news: Notify,
}

impl Counter {
    /// Waits until there were so many; says how many there were.
    pub async fn reached(&self, wanted: usize) -> usize {
        self.wanted.store(wanted, Ordering::Relaxed);
        loop {
            let count = self.count.load(Ordering::Relaxed);
            if count >= wanted {
                return count;
            }
            self.news.notified().await;
        }
    }

    fn add(&self, count: usize) {
        let before = self.count.fetch_add(count, Ordering::Relaxed);
        if before + count >= self.wanted.load(Ordering::Relaxed) {
            self.news.notify_one();
        }
    }
}

/// What a subscriber speaks.
#[derive(Clone, Copy)]
enum Tongue {
    /// MQTT, one packet in each frame.
    Mqtt,
    /// JSON-RPC, one notification in each frame.
    Jsonrpc,
}

/// A client with one subscription.
pub struct Subscriber {
    tongue: Tongue,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Subscriber {
    /// Of a topic, at an MQTT broker's WebSocket listener.
    pub async fn of_topic(port: u16, number: usize, topic: &str) -> Result<Subscriber, Failure> {
        let stream = ws::connect(port, "/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n").await?;
        let mut subscriber = Subscriber::new(Tongue::Mqtt, stream);
        let connect = packets::connect(&format!("bench-subscriber-{number}"));
        for (packet, answer) in [(connect, CONNACK), (packets::subscribe(topic, 0), SUBACK)] {
            let payload = subscriber.ask(BINARY, &packet).await?;
            if packets::first(&payload).is_none_or(|(kind, _)| kind != answer) {
                return Err(format!("the MQTT broker answered {payload:?}").into());
            }
        }
        Ok(subscriber)
    }

    /// Of a channel of callway.
    pub async fn of_channel(daemon: &Daemon, channel: &str) -> Result<Subscriber, Failure> {
        let mut subscriber = Subscriber::new(Tongue::Jsonrpc, daemon.connect().await?);
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"callway.subscribe","params":{{"channel":"{channel}"}}}}"#
        );
        let answer = subscriber.ask(TEXT, request.as_bytes()).await?;
        if find(&answer, br#""result":"#).is_none() {
            return Err(String::from_utf8_lossy(&answer).into());
        }
        Ok(subscriber)
    }

    fn new(tongue: Tongue, stream: TcpStream) -> Subscriber {
        Subscriber {
            tongue,
            stream,
            input: Vec::with_capacity(4 * 1024),
        }
    }

    /// Sends one frame and returns the payload of the next that comes.
    async fn ask(&mut self, opcode: u8, payload: &[u8]) -> Result<Vec<u8>, Failure> {
        self.stream
            .write_all(&client_frame(opcode, payload))
            .await?;
        loop {
            if let Some((_, payload, length)) = server_frame(&self.input) {
                let payload = payload.to_vec();
                self.input.drain(..length);
                return Ok(payload);
            }
            self.read().await?;
        }
    }

    /// Counts until it is dropped.
    pub async fn count(mut self, counter: &Counter) -> Result<(), Failure> {
        loop {
            let (mut used, mut count) = (0, 0);
            let mut pongs = Vec::new();
            while let Some((opcode, payload, length)) = server_frame(&self.input[used..]) {
                used += length;
                match opcode {
                    TEXT | BINARY if self.tongue.is_event(payload) => count += 1,
                    0x9 => pongs.extend(client_frame(0xA, payload)),
                    _ => return Err(format!("a frame with opcode {opcode:#x} came").into()),
                }
            }
            self.input.drain(..used);
            counter.add(count);
            if !pongs.is_empty() {
                self.stream.write_all(&pongs).await?;
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), Failure> {
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err("a subscriber was cut off".into()),
            _ => Ok(()),
        }
    }
}

impl Tongue {
    fn is_event(self, payload: &[u8]) -> bool {
        match self {
            Tongue::Mqtt => packets::first(payload) == Some((PUBLISH, payload.len())),
            Tongue::Jsonrpc => payload.starts_with(br#"{"jsonrpc":"2.0","method":"callway.event""#),
        }
    }
}

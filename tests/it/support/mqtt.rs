//! A small MQTT client, 5 and 3.1.1, written from the standards so that it shares no code with
//! the one in callway. Section numbers are those of MQTT 5.0.

use std::collections::VecDeque;
use std::ops::Range;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::PATIENCE;

/// Which MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 5.0.
    V5,
    /// MQTT 3.1.1.
    V4,
}

/// A PUBLISH in either direction. The properties exist on MQTT 5 only.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub retain: bool,
    pub response_topic: Option<String>,
    pub correlation: Option<Vec<u8>>,
    pub content_type: Option<String>,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    pub user: Vec<(String, String)>,
}

impl Message {
    /// A message of QoS 0 without properties.
    pub fn new(topic: &str, payload: impl Into<Vec<u8>>) -> Message {
        Message {
            topic: topic.into(),
            payload: payload.into(),
            ..Message::default()
        }
    }

    /// Where the answer is awaited, and under which mark.
    pub fn reply_to(mut self, topic: &str, correlation: &str) -> Message {
        self.response_topic = Some(topic.into());
        self.correlation = Some(correlation.into());
        self
    }

    /// With a user property.
    pub fn user(mut self, name: &str, value: &str) -> Message {
        self.user.push((name.into(), value.into()));
        self
    }

    /// The value of a user property.
    pub fn property(&self, name: &str) -> Option<&str> {
        let mut found = self.user.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The payload as JSON.
    pub fn json(&self) -> serde_json::Value {
        let text = String::from_utf8_lossy(&self.payload);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text:?}"))
    }
}

/// One connection. It does not come back by itself when it is lost.
pub struct Mqtt {
    stream: TcpStream,
    version: Version,
    packet_id: u16,
    /// Came while something else was awaited.
    waiting: VecDeque<Message>,
}

impl Mqtt {
    /// Connects with a clean session and a client id of its own.
    pub async fn connect(port: u16, version: Version) -> Mqtt {
        let connecting = Mqtt::try_connect(port, version, None);
        let client = tokio::time::timeout(PATIENCE, connecting).await.unwrap();
        client.expect("the broker refused the connection")
    }

    /// Connects; `None` if nobody listens or the broker refuses.
    pub async fn try_connect(
        port: u16,
        version: Version,
        login: Option<(&str, &str)>,
    ) -> Option<Mqtt> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let mut client = Mqtt {
            stream,
            version,
            packet_id: 0,
            waiting: VecDeque::new(),
        };
        let v5 = version == Version::V5;
        let mut body = string("MQTT");
        let flags = if login.is_some() { 0b1100_0010 } else { 0b10 };
        body.extend([if v5 { 5 } else { 4 }, flags, 0, 60]);
        if v5 {
            body.push(0);
        }
        body.extend(string(&format!("test-{}", uuid::Uuid::new_v4().simple())));
        if let Some((user, password)) = login {
            body.extend(string(user));
            body.extend(string(password));
        }
        client.write(0x10, &body).await?;
        let (kind, body) = client.read().await?;
        (kind == 0x20 && body.get(1) == Some(&0)).then_some(client)
    }

    /// Subscribes with QoS 1 and waits for the broker's word.
    pub async fn subscribe(&mut self, filter: &str) {
        let subscribed = self.try_subscribe(filter).await;
        assert!(subscribed, "the broker refused {filter}");
    }

    /// Subscribes; false if the connection is gone or the broker refused.
    pub async fn try_subscribe(&mut self, filter: &str) -> bool {
        self.packet_id += 1;
        let mut body = self.packet_id.to_be_bytes().to_vec();
        if self.version == Version::V5 {
            body.push(0);
        }
        body.extend(string(filter));
        body.push(1);
        if self.write(0x82, &body).await.is_none() {
            return false;
        }
        match self.read_until(0x90).await {
            Some(body) => body.last().is_some_and(|code| *code < 0x80),
            None => false,
        }
    }

    /// Publishes; at QoS 1 waits for the PUBACK. `None` if the connection is gone, else the
    /// reason code (0 on MQTT 3.1.1).
    pub async fn publish(&mut self, message: &Message) -> Option<u8> {
        let mut body = string(&message.topic);
        if message.qos > 0 {
            self.packet_id += 1;
            body.extend(self.packet_id.to_be_bytes());
        }
        if self.version == Version::V5 {
            let properties = properties(message);
            body.extend(variable(properties.len()));
            body.extend(properties);
        }
        body.extend(&message.payload);
        let flags = message.qos << 1 | u8::from(message.retain);
        self.write(0x30 | flags, &body).await?;
        if message.qos == 0 {
            return Some(0);
        }
        let ack = self.read_until(0x40).await?;
        Some(ack.get(2).copied().unwrap_or(0))
    }

    /// The next message; fails the test if none comes.
    pub async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(PATIENCE, self.recv()).await;
        next.expect("no message came").expect("connection lost")
    }

    /// The next message; `None` once the connection is gone.
    pub async fn recv(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Some(message);
            }
            let (kind, body) = self.read().await?;
            self.keep(kind, body).await?;
        }
    }

    async fn read_until(&mut self, wanted: u8) -> Option<Vec<u8>> {
        loop {
            let (kind, body) = self.read().await?;
            if kind == wanted {
                return Some(body);
            }
            self.keep(kind, body).await?;
        }
    }

    async fn keep(&mut self, kind: u8, body: Vec<u8>) -> Option<()> {
        if kind & 0xf0 == 0x30 {
            let (message, id) = parse_publish(kind, &body, self.version)?;
            self.waiting.push_back(message);
            if let Some(id) = id {
                self.write(0x40, &id.to_be_bytes()).await?;
            }
        }
        Some(())
    }

    /// Sends a packet as it is, also a malformed one.
    pub async fn write(&mut self, kind: u8, body: &[u8]) -> Option<()> {
        let mut packet = vec![kind];
        packet.extend(variable(body.len()));
        packet.extend(body);
        self.stream.write_all(&packet).await.ok()
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        read_packet(&mut self.stream).await
    }
}

/// The next packet, its first byte and what follows its length; `None` if there is none.
pub async fn read_packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

/// §1.5.4 and §1.5.6: two bytes of length, then the bytes.
pub fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u16).to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

/// A text.
pub fn string(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

/// §1.5.5: seven bits per byte, the lowest first.
pub fn variable(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        out.push(if number > 0 { byte | 0x80 } else { byte });
        if number == 0 {
            return out;
        }
    }
}

/// §3.3.2.3.
fn properties(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |id: u8, bytes: Vec<u8>| {
        out.push(id);
        out.extend(bytes);
    };
    if let Some(seconds) = message.expiry {
        add(0x02, seconds.to_be_bytes().to_vec());
    }
    if let Some(kind) = &message.content_type {
        add(0x03, string(kind));
    }
    if let Some(topic) = &message.response_topic {
        add(0x08, string(topic));
    }
    if let Some(correlation) = &message.correlation {
        add(0x09, binary(correlation));
    }
    for (name, value) in &message.user {
        add(0x26, [string(name), string(value)].concat());
    }
    out
}

/// Walks over a packet's bytes; `None` once they run out.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken.to_vec())
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        let taken = self.take(bytes)?;
        Some(
            taken
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    }

    fn binary(&mut self) -> Option<Vec<u8>> {
        let length = self.number(2)?;
        self.take(length)
    }

    fn string(&mut self) -> Option<String> {
        String::from_utf8(self.binary()?).ok()
    }

    fn variable(&mut self) -> Option<usize> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.number(1)?;
            number |= (byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
    }
}

/// The first packet among bytes: its kind, and where its body lies. `None` if it is not all there.
pub(super) fn packet(bytes: &[u8]) -> Option<(u8, Range<usize>)> {
    let mut cursor = Cursor(bytes.get(1..)?);
    let length = cursor.variable()?;
    let start = bytes.len() - cursor.0.len();
    cursor.take(length)?;
    Some((bytes[0], start..start + length))
}

/// A PUBLISH and, above QoS 0, its packet id.
pub fn parse_publish(kind: u8, body: &[u8], version: Version) -> Option<(Message, Option<u16>)> {
    let mut cursor = Cursor(body);
    let mut message = Message::new(&cursor.string()?, "");
    message.qos = kind >> 1 & 3;
    message.retain = kind & 1 == 1;
    let id = match message.qos {
        0 => None,
        _ => Some(cursor.number(2)? as u16),
    };
    if version == Version::V5 {
        let length = cursor.variable()?;
        let block = cursor.take(length)?;
        parse_properties(&mut message, Cursor(&block))?;
    }
    message.payload = cursor.0.to_vec();
    Some((message, id))
}

fn parse_properties(message: &mut Message, mut cursor: Cursor<'_>) -> Option<()> {
    while !cursor.0.is_empty() {
        match cursor.number(1)? {
            0x01 => drop(cursor.number(1)?),
            0x02 => message.expiry = Some(cursor.number(4)? as u32),
            0x03 => message.content_type = Some(cursor.string()?),
            0x08 => message.response_topic = Some(cursor.string()?),
            0x09 => message.correlation = Some(cursor.binary()?),
            0x0b => drop(cursor.variable()?),
            0x23 => drop(cursor.number(2)?),
            0x26 => message.user.push((cursor.string()?, cursor.string()?)),
            other => panic!("property {other:#x} does not belong into a PUBLISH"),
        }
    }
    Some(())
}

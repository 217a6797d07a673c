//! A client that says every byte itself, so that nothing of it is mended by a library.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::mqtt::{parse_publish, read_packet, string, variable};
use crate::support::{Message, PATIENCE, TOKEN, Version};

/// What a CONNECT says.
#[derive(Clone, Debug)]
pub struct Hello {
    pub version: Version,
    pub client: String,
    pub clean: bool,
    pub keep_alive: u16,
    pub password: Option<String>,
    /// Topic, payload, QoS, retain, delay in seconds.
    pub will: Option<(&'static str, &'static str, u8, bool, u32)>,
    /// Properties as bytes.
    pub properties: Vec<u8>,
}

impl Hello {
    pub fn new(version: Version, client: &str) -> Hello {
        Hello {
            version,
            client: client.to_owned(),
            clean: true,
            keep_alive: 60,
            password: Some(TOKEN.to_owned()),
            will: None,
            properties: Vec::new(),
        }
    }

    /// With a session that outlives the connection by so many seconds; on MQTT 3.1.1 by what the
    /// endpoint says.
    pub fn stays(mut self, seconds: u32) -> Hello {
        self.clean = false;
        if self.version == Version::V5 {
            self.properties.push(0x11);
            self.properties.extend(seconds.to_be_bytes());
        }
        self
    }

    pub fn property(mut self, bytes: &[u8]) -> Hello {
        self.properties.extend(bytes);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut body = string("MQTT");
        let mut flags = u8::from(self.clean) << 1;
        if self.password.is_some() {
            flags |= 0xc0;
        }
        if let Some((_, _, qos, retain, _)) = self.will {
            flags |= 4 | qos << 3 | u8::from(retain) << 5;
        }
        body.push(if self.version == Version::V5 { 5 } else { 4 });
        body.push(flags);
        body.extend(self.keep_alive.to_be_bytes());
        let v5 = self.version == Version::V5;
        if v5 {
            body.extend(variable(self.properties.len()));
            body.extend(&self.properties);
        }
        body.extend(string(&self.client));
        if let Some((topic, payload, _, _, delay)) = self.will {
            if v5 {
                body.extend([5, 0x18]);
                body.extend(delay.to_be_bytes());
            }
            body.extend(string(topic));
            body.extend(string(payload));
        }
        if let Some(password) = &self.password {
            body.extend(string("any user"));
            body.extend(string(password));
        }
        packet(0x10, &body)
    }
}

pub fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    packet.extend(variable(body.len()));
    packet.extend(body);
    packet
}

pub struct Device {
    stream: TcpStream,
    pub version: Version,
    id: u16,
}

impl Device {
    /// Sends bytes before anything else.
    pub async fn raw(port: u16, bytes: &[u8]) -> Device {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut device = Device {
            stream,
            version: Version::V5,
            id: 0,
        };
        device.send(bytes).await;
        device
    }

    /// Connects, whatever comes of it. Returns the body of the CONNACK.
    pub async fn try_connect(port: u16, hello: &Hello) -> (Device, Vec<u8>) {
        let mut device = Device::raw(port, &hello.bytes()).await;
        device.version = hello.version;
        let (kind, body) = device.read().await;
        assert_eq!(kind, 0x20, "a CONNACK comes first");
        (device, body)
    }

    /// Connects; says whether the session was there before.
    pub async fn connect(port: u16, hello: &Hello) -> (Device, bool) {
        let (device, connack) = Device::try_connect(port, hello).await;
        assert_eq!(connack[1], 0, "{hello:?}");
        (device, connack[0] == 1)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The other side may have closed already, which a test sees when it reads.
        self.stream.write_all(bytes).await.unwrap_or_default();
    }

    pub async fn packet(&mut self, kind: u8, body: &[u8]) {
        self.send(&packet(kind, body)).await;
    }

    /// The next packet.
    pub async fn read(&mut self) -> (u8, Vec<u8>) {
        let read = self.try_read().await;
        read.expect("the connection was closed")
    }

    /// The next packet; `None` once the connection is gone.
    pub async fn try_read(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = timeout(PATIENCE, read_packet(&mut self.stream)).await;
        read.expect("nothing comes")
    }

    /// Subscribes; returns the code.
    pub async fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        self.subscribe_as(filter, options, None).await
    }

    pub async fn subscribe_as(&mut self, filter: &str, options: u8, id: Option<u8>) -> u8 {
        self.id += 1;
        let mut body = self.id.to_be_bytes().to_vec();
        if self.version == Version::V5 {
            match id {
                None => body.push(0),
                Some(id) => body.extend([2, 0x0b, id]),
            }
        }
        body.extend(string(filter));
        body.push(options);
        self.packet(0x82, &body).await;
        let (kind, body) = self.read().await;
        assert_eq!(kind, 0x90, "a SUBACK comes before any event");
        assert_eq!(body[..2], self.id.to_be_bytes());
        *body.last().unwrap()
    }

    /// Sends a PUBLISH with these properties as bytes; returns its packet identifier.
    pub async fn send_publish(
        &mut self,
        topic: &str,
        payload: &str,
        flags: u8,
        properties: &[u8],
    ) -> u16 {
        let mut body = string(topic);
        if flags & 6 != 0 {
            self.id += 1;
            body.extend(self.id.to_be_bytes());
        }
        if self.version == Version::V5 {
            body.extend(variable(properties.len()));
            body.extend(properties);
        }
        body.extend(payload.as_bytes());
        self.packet(0x30 | flags, &body).await;
        self.id
    }

    /// Publishes at QoS 0, 1 or 2, retained or not, to the last acknowledgement; returns its
    /// reason.
    pub async fn publish(&mut self, topic: &str, payload: &str, qos: u8, retain: bool) -> u8 {
        let flags = qos << 1 | u8::from(retain);
        let id = self.send_publish(topic, payload, flags, &[]).await;
        match qos {
            0 => 0,
            1 => self.acknowledged(0x40, id).await,
            _ => {
                let reason = self.acknowledged(0x50, id).await;
                if reason < 0x80 {
                    self.packet(0x62, &id.to_be_bytes()).await;
                    self.acknowledged(0x70, id).await;
                }
                reason
            }
        }
    }

    pub async fn acknowledged(&mut self, kind: u8, id: u16) -> u8 {
        let (got, body) = self.read().await;
        assert_eq!((got, &body[..2]), (kind, &id.to_be_bytes()[..]));
        body.get(2).copied().unwrap_or(0)
    }

    /// The next message, not acknowledged; with its first byte and its packet identifier.
    pub async fn take(&mut self) -> (Message, u8, Option<u16>) {
        let (kind, body) = self.read().await;
        assert_eq!(kind & 0xf0, 0x30, "a PUBLISH, not {kind:x} {body:?}");
        let (message, id) = parse_publish(kind, &body, self.version).unwrap();
        (message, kind, id)
    }

    /// The next message, acknowledged to the end.
    pub async fn next(&mut self) -> Message {
        let (message, _, id) = self.take().await;
        match (message.qos, id) {
            (1, Some(id)) => self.packet(0x40, &id.to_be_bytes()).await,
            (2, Some(id)) => {
                self.packet(0x50, &id.to_be_bytes()).await;
                self.acknowledged(0x62, id).await;
                self.packet(0x70, &id.to_be_bytes()).await;
            }
            _ => {}
        }
        message
    }

    /// The topic and payload of the next message.
    pub async fn hears(&mut self) -> (String, String) {
        let message = self.next().await;
        let payload = String::from_utf8(message.payload).unwrap();
        (message.topic, payload)
    }

    /// Nothing more has come: the answer to a ping is the next packet.
    pub async fn hears_nothing(&mut self) {
        self.packet(0xc0, &[]).await;
        assert_eq!(self.read().await, (0xd0, vec![]));
    }

    pub async fn goodbye(mut self) {
        self.packet(0xe0, &[]).await;
        assert_eq!(self.try_read().await, None);
    }

    /// Waits for the end; returns the reason of the DISCONNECT, if one was said.
    pub async fn ended(&mut self) -> Option<u8> {
        let mut reason = None;
        while let Some((kind, body)) = self.try_read().await {
            if kind == 0xe0 {
                reason = Some(body.first().copied().unwrap_or(0));
            }
        }
        reason
    }
}

//! MQTT 5 (OASIS standard) by hand, as little as request/response needs: the floor client that
//! does without any bridge, and the responder that both it and callway ask.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Failure;
use crate::wire::{PARAMS, Wire};

/// The topic that the responder answers, by QoS.
pub const TOPICS: [&str; 2] = ["bench/q0", "bench/q1"];

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;

const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const USER_PROPERTY: u8 = 0x26;

/// Connects and subscribes.
pub async fn connect(
    port: u16,
    client_id: &str,
    filters: &[(&str, u8)],
) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut connect = Vec::new();
    text(&mut connect, "MQTT");
    connect.extend([5, 0b10, 0, 0]); // version, clean start, no keep-alive
    connect.extend([3, 0x21, 0xff, 0xff]); // Receive Maximum 65535
    text(&mut connect, client_id);
    let mut subscribe = vec![0, 1, 0];
    for (filter, qos) in filters {
        text(&mut subscribe, filter);
        subscribe.push(*qos);
    }
    let mut out = Vec::new();
    packet(&mut out, CONNECT, &connect);
    packet(&mut out, SUBSCRIBE, &subscribe);
    stream.write_all(&out).await?;
    let mut input = Vec::new();
    let mut used = 0;
    for wanted in [CONNACK, SUBACK] {
        let (kind, refused) = loop {
            if let Some((kind, body, length)) = first_packet(&input[used..]) {
                used += length;
                let codes = if kind == CONNACK {
                    &body[1..2]
                } else {
                    &body[3..]
                };
                break (kind, codes.iter().any(|code| *code >= 0x80));
            }
            if stream.read_buf(&mut input).await? == 0 {
                return Err("the MQTT broker closed the connection".into());
            }
        };
        if kind != wanted || refused {
            return Err("the MQTT broker refused the connection or the subscription".into());
        }
    }
    Ok(stream)
}

/// A client that does request/response itself.
pub struct Floor {
    qos: u8,
    reply_topic: String,
    packet_id: u16,
}

impl Floor {
    /// Its stream must have subscribed to `reply_topic`.
    pub fn new(qos: u8, reply_topic: String) -> Floor {
        Floor {
            qos,
            reply_topic,
            packet_id: 0,
        }
    }
}

impl Wire for Floor {
    fn request(&mut self, slot: usize, out: &mut Vec<u8>) {
        let mut properties = vec![RESPONSE_TOPIC];
        text(&mut properties, &self.reply_topic);
        properties.push(CORRELATION_DATA);
        properties.extend([0, 1, slot as u8]);
        let topic = TOPICS[usize::from(self.qos)];
        let id = next_id(&mut self.packet_id);
        publish(out, self.qos, id, topic, &properties, PARAMS.as_bytes());
    }

    fn replies(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        done: &mut Vec<usize>,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        while let Some((kind, body, length)) = first_packet(&input[used..]) {
            used += length;
            if kind & 0xf0 == PUBLISH {
                let message = Message::read(kind, body).ok_or("a broken PUBLISH came")?;
                message.acknowledge(out);
                let slot = message.correlation.and_then(|data| data.first());
                done.push(usize::from(
                    *slot.ok_or("a reply without correlation data")?,
                ));
            }
        }
        Ok(used)
    }
}

/// Answers each request with its own payload, at the QoS with which it came.
pub async fn respond(port: u16) -> Result<(), Failure> {
    let filters = [(TOPICS[0], 0), (TOPICS[1], 1)];
    let mut stream = connect(port, "bench-responder", &filters).await?;
    println!("ready");
    let mut packet_id = 0;
    let (mut input, mut out) = (Vec::with_capacity(64 * 1024), Vec::with_capacity(64 * 1024));
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let mut used = 0;
        while let Some((kind, body, length)) = first_packet(&input[used..]) {
            used += length;
            if kind & 0xf0 != PUBLISH {
                continue;
            }
            let request = Message::read(kind, body).ok_or("a broken PUBLISH came")?;
            request.acknowledge(&mut out);
            let Some(reply_topic) = request.response_topic else {
                continue;
            };
            let mut properties = Vec::new();
            if let Some(data) = request.correlation {
                properties.push(CORRELATION_DATA);
                properties.extend((data.len() as u16).to_be_bytes());
                properties.extend(data);
            }
            let topic = std::str::from_utf8(reply_topic)?;
            let id = next_id(&mut packet_id);
            publish(
                &mut out,
                request.qos,
                id,
                topic,
                &properties,
                request.payload,
            );
        }
        input.drain(..used);
        stream.write_all(&out).await?;
        out.clear();
    }
}

struct Message<'a> {
    qos: u8,
    packet_id: [u8; 2],
    response_topic: Option<&'a [u8]>,
    correlation: Option<&'a [u8]>,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(kind: u8, body: &'a [u8]) -> Option<Message<'a>> {
        let qos = kind >> 1 & 3;
        let (_topic, mut rest) = field(body)?;
        let mut packet_id = [0; 2];
        if qos > 0 {
            packet_id.copy_from_slice(rest.get(..2)?);
            rest = &rest[2..];
        }
        let (length, bytes) = variable(rest)?;
        let rest = &rest[bytes..];
        let (mut properties, payload) = rest.split_at_checked(length)?;
        let mut message = Message {
            qos,
            packet_id,
            response_topic: None,
            correlation: None,
            payload,
        };
        while let Some((&id, value)) = properties.split_first() {
            properties = match id {
                RESPONSE_TOPIC | CORRELATION_DATA | CONTENT_TYPE => {
                    let (data, rest) = field(value)?;
                    match id {
                        RESPONSE_TOPIC => message.response_topic = Some(data),
                        CORRELATION_DATA => message.correlation = Some(data),
                        _ => {}
                    }
                    rest
                }
                USER_PROPERTY => field(field(value)?.1)?.1,
                0x01 => value.get(1..)?, // Payload Format Indicator
                0x02 => value.get(4..)?, // Message Expiry Interval
                0x23 => value.get(2..)?, // Topic Alias
                0x0b => &value[variable(value)?.1..], // Subscription Identifier
                _ => return None,
            };
        }
        Some(message)
    }

    fn acknowledge(&self, out: &mut Vec<u8>) {
        if self.qos == 1 {
            packet(out, PUBACK, &self.packet_id);
        }
    }
}

fn publish(
    out: &mut Vec<u8>,
    qos: u8,
    packet_id: u16,
    topic: &str,
    properties: &[u8],
    payload: &[u8],
) {
    let id = if qos > 0 { 2 } else { 0 };
    let length = 2 + topic.len() + id + variable_size(properties.len()) + properties.len();
    out.push(PUBLISH | qos << 1);
    put_variable(out, length + payload.len());
    text(out, topic);
    if qos > 0 {
        out.extend(packet_id.to_be_bytes());
    }
    put_variable(out, properties.len());
    out.extend_from_slice(properties);
    out.extend_from_slice(payload);
}

fn next_id(id: &mut u16) -> u16 {
    *id = id.checked_add(1).unwrap_or(1);
    *id
}

fn packet(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    put_variable(out, body.len());
    out.extend_from_slice(body);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn variable_size(number: usize) -> usize {
    if number < 128 { 1 } else { 2 }
}

fn put_variable(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn variable(input: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    for (index, byte) in input.iter().take(4).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, index + 1));
        }
    }
    None
}

fn field(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_at_checked(2)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes([length[0], length[1]])))
}

/// First byte, body and length of the first packet, once it is whole.
fn first_packet(input: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (length, bytes) = variable(input.get(1..)?)?;
    let body = input.get(1 + bytes..1 + bytes + length)?;
    Some((input[0], body, 1 + bytes + length))
}

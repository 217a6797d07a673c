//! From what callway says to the wire.

use bytes::{BufMut, BytesMut};

use super::Reason;
use super::packet::{Ack, Version};
use super::properties::Written;
use super::wire::{put_binary, put_varint, varint_size};
use crate::channel::Beside;

/// What a CONNACK says beside its reason (§3.2.2.3).
#[derive(Debug, Default)]
pub struct Welcome {
    /// The session is one that was there before.
    pub session_present: bool,
    /// Where it is not what the client asked for.
    pub session_expiry: Option<u32>,
    /// The client chose none.
    pub client: Option<String>,
    /// Where it is not what the client asked for.
    pub keep_alive: Option<u16>,
    /// How many unacknowledged messages are taken at once.
    pub receive_maximum: u16,
    /// The largest packet that is taken.
    pub maximum_packet: u32,
    /// The highest topic alias that is taken.
    pub alias_maximum: u16,
    /// Where replies may go.
    pub response_information: Option<String>,
}

/// A message on its way to a client.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Left out where the client knows its alias.
    pub topic: &'a str,
    /// What stands for the topic, from now on or already.
    pub alias: Option<u16>,
    /// The body.
    pub payload: &'a [u8],
    /// 0, 1 or 2.
    pub qos: u8,
    /// The retain flag.
    pub retain: bool,
    /// It was sent before.
    pub again: bool,
    /// The packet identifier; none at QoS 0.
    pub id: u16,
    /// Seconds that are left of its life.
    pub expiry: Option<u32>,
    /// The subscriptions that it is sent for.
    pub identifiers: &'a [u32],
    /// Whatever else was said.
    pub beside: Option<&'a Beside>,
}

/// CONNACK that lets a client in.
pub fn welcome(version: Version, welcome: &Welcome, out: &mut BytesMut) {
    let present = u8::from(welcome.session_present);
    if version == Version::V4 {
        return out.put_slice(&[0x20, 2, present, 0]);
    }
    let mut said = Written::default();
    if let Some(expiry) = welcome.session_expiry {
        said.four(0x11, expiry);
    }
    said.two(0x21, welcome.receive_maximum);
    said.four(0x27, welcome.maximum_packet);
    if let Some(client) = &welcome.client {
        said.binary(0x12, client.as_bytes());
    }
    said.two(0x22, welcome.alias_maximum);
    // Shared subscriptions are not available.
    said.byte(0x2a, 0);
    if let Some(keep_alive) = welcome.keep_alive {
        said.two(0x13, keep_alive);
    }
    if let Some(topic) = &welcome.response_information {
        said.binary(0x1a, topic.as_bytes());
    }
    connack(present, Reason::Success.code(), &said, out);
}

/// CONNACK that refuses a client; nothing where the version has no word for it.
pub fn refusal(version: Version, reason: Reason, out: &mut BytesMut) {
    match version {
        Version::V5 => connack(0, reason.code(), &Written::default(), out),
        Version::V4 => {
            if let Some(code) = reason.return_code() {
                out.put_slice(&[0x20, 2, 0, code]);
            }
        }
    }
}

fn connack(present: u8, code: u8, said: &Written, out: &mut BytesMut) {
    out.put_u8(0x20);
    put_varint(out, 2 + said.size());
    out.put_slice(&[present, code]);
    said.put(out);
}

/// PUBLISH. Says how large it is; if that is more than `most`, it is not written.
pub fn publish(version: Version, message: &Outgoing<'_>, most: usize, out: &mut BytesMut) -> bool {
    let said = (version == Version::V5).then(|| {
        let mut said = Written::default();
        if let Some(expiry) = message.expiry {
            said.four(0x02, expiry);
        }
        if let Some(alias) = message.alias {
            said.two(0x23, alias);
        }
        for identifier in message.identifiers {
            said.varint(0x0b, *identifier);
        }
        if let Some(beside) = message.beside {
            said.beside(beside);
        }
        said
    });
    let id = if message.qos > 0 { 2 } else { 0 };
    let said_size = said.as_ref().map_or(0, Written::size);
    let body = 2 + message.topic.len() + id + said_size + message.payload.len();
    let size = 1 + varint_size(body) + body;
    if size > most || body > super::wire::LARGEST as usize {
        return false;
    }
    out.reserve(size);
    let again = u8::from(message.again) << 3;
    out.put_u8(0x30 | again | (message.qos << 1) | u8::from(message.retain));
    put_varint(out, body);
    put_binary(out, message.topic.as_bytes());
    if message.qos > 0 {
        out.put_u16(message.id);
    }
    if let Some(said) = said {
        said.put(out);
    }
    out.put_slice(message.payload);
    true
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
pub fn ack(version: Version, ack: Ack, id: u16, reason: Reason, out: &mut BytesMut) {
    let flags = if ack == Ack::Pubrel { 2 } else { 0 };
    out.put_u8((ack as u8) << 4 | flags);
    let says = version == Version::V5 && reason != Reason::Success;
    out.put_u8(if says { 3 } else { 2 });
    out.put_u16(id);
    if says {
        out.put_u8(reason.code());
    }
}

/// SUBACK. `codes` are QoS or reasons; MQTT 3.1.1 knows one failure only.
pub fn suback(version: Version, id: u16, codes: &[u8], out: &mut BytesMut) {
    out.put_u8(0x90);
    head(version, id, codes.len(), out);
    for code in codes {
        out.put_u8(match version {
            Version::V4 if *code >= 0x80 => 0x80,
            _ => *code,
        });
    }
}

/// UNSUBACK; without codes on MQTT 3.1.1.
pub fn unsuback(version: Version, id: u16, codes: &[u8], out: &mut BytesMut) {
    let codes = if version == Version::V5 { codes } else { &[] };
    out.put_u8(0xb0);
    head(version, id, codes.len(), out);
    out.put_slice(codes);
}

fn head(version: Version, id: u16, codes: usize, out: &mut BytesMut) {
    let said = Written::default();
    let v5 = version == Version::V5;
    put_varint(out, 2 + codes + if v5 { said.size() } else { 0 });
    out.put_u16(id);
    if v5 {
        said.put(out);
    }
}

/// PINGRESP.
pub fn pong(out: &mut BytesMut) {
    out.put_slice(&[0xd0, 0]);
}

/// DISCONNECT; a server says it on MQTT 5 only.
pub fn disconnect(version: Version, reason: Reason, out: &mut BytesMut) {
    if version == Version::V5 {
        out.put_slice(&[0xe0, 1, reason.code()]);
    }
}

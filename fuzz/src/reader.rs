//! What the server says, as a client reads it.

use callway::dialect::mqtt::{Ack, Version, frame};

/// A packet from the server.
#[derive(Debug)]
pub(crate) enum Said {
    Publish(Delivery),
    /// With its reason code.
    Ack(Ack, u16, u8),
    Pong,
}

/// A message from the server.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) topic: String,
    pub(crate) alias: Option<u16>,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) again: bool,
    pub(crate) id: u16,
    /// Bytes of the packet.
    pub(crate) size: usize,
}

/// Whole packets, and nothing behind them.
pub(crate) fn all(version: Version, mut bytes: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    while !bytes.is_empty() {
        let found = frame(bytes, usize::MAX);
        let Ok(Some(found)) = found else {
            panic!("no packet: {found:?} {bytes:x?}");
        };
        let (packet, rest) = bytes.split_at(found.end);
        said.push(one(
            version,
            found.head,
            &packet[found.start..],
            packet.len(),
        ));
        bytes = rest;
    }
    said
}

fn one(version: Version, head: u8, mut body: &[u8], size: usize) -> Said {
    let body = &mut body;
    let ack = |ack, body: &mut &[u8]| {
        let id = two(body);
        let reason = body.first().copied().unwrap_or(0);
        Said::Ack(ack, id, reason)
    };
    match head {
        0x40 => ack(Ack::Puback, body),
        0x50 => ack(Ack::Pubrec, body),
        0x62 => ack(Ack::Pubrel, body),
        0x70 => ack(Ack::Pubcomp, body),
        0xd0 => Said::Pong,
        0x30..0x40 => {
            let qos = (head >> 1) & 3;
            let length = two(body).into();
            let topic = String::from_utf8(take(body, length).to_vec());
            let id = if qos > 0 { two(body) } else { 0 };
            let alias = match version {
                Version::V5 => properties(body),
                Version::V4 => None,
            };
            Said::Publish(Delivery {
                topic: topic.unwrap_or_else(|error| panic!("a topic: {error}")),
                alias,
                payload: body.to_vec(),
                qos,
                again: head & 8 != 0,
                id,
                size,
            })
        }
        head => panic!("nothing that the server says here: {head:x}"),
    }
}

/// The topic alias, if there is one; the other properties of these messages are numbers.
fn properties(body: &mut &[u8]) -> Option<u16> {
    let length = variable(body);
    let mut said = take(body, length);
    let mut alias = None;
    while let Some((id, rest)) = said.split_first() {
        said = rest;
        match id {
            0x02 => drop(take(&mut said, 4)),
            0x0b => drop(variable(&mut said)),
            0x23 => alias = Some(two(&mut said)),
            id => panic!("a property that nobody set: {id:x}"),
        }
    }
    alias
}

fn variable(bytes: &mut &[u8]) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = take(bytes, 1)[0];
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

fn two(bytes: &mut &[u8]) -> u16 {
    let two = take(bytes, 2);
    u16::from_be_bytes([two[0], two[1]])
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

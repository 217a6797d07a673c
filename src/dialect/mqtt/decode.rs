//! From the body of a packet to what a client says. Whatever the standard calls malformed or a
//! protocol error is refused here, with its reason code.

use bytes::Bytes;

use super::Reason;
use super::packet::{Ack, Connect, Packet, Publish, Version, Will, Wish};
use super::properties::{Place, Properties};
use super::topic::{is_filter, is_topic};
use super::wire::Reader;
use crate::auth::Secret;

/// Reads the first packet of a connection (§3.1), which must be a CONNECT.
///
/// On a refusal the version says how to tell it, as far as it is known.
pub fn connect(head: u8, body: &[u8]) -> Result<Connect, (Option<Version>, Reason)> {
    if head != 0x10 {
        return Err((None, Reason::ProtocolError));
    }
    let mut reader = Reader(body);
    let name = reader.text().map_err(|reason| (None, reason))?;
    let level = reader.byte().map_err(|reason| (None, reason))?;
    let version = match (name, level) {
        ("MQTT", 4) => Version::V4,
        ("MQTT", 5) => Version::V5,
        ("MQTT", 6..) => return Err((Some(Version::V5), Reason::UnsupportedProtocolVersion)),
        ("MQTT" | "MQIsdp", _) => {
            return Err((Some(Version::V4), Reason::UnsupportedProtocolVersion));
        }
        _ => return Err((None, Reason::ProtocolError)),
    };
    rest_of_connect(version, reader).map_err(|reason| (Some(version), reason))
}

fn rest_of_connect(version: Version, mut reader: Reader<'_>) -> Result<Connect, Reason> {
    let flags = reader.byte()?;
    let flag = |bit: u8| flags & (1 << bit) != 0;
    let (has_user, has_password, has_will) = (flag(7), flag(6), flag(2));
    let will_qos = (flags >> 3) & 3;
    let will_says = flag(5) || will_qos != 0;
    if flag(0) || will_qos == 3 || (!has_will && will_says) {
        return Err(Reason::MalformedPacket);
    }
    // §3.1.2.9 of MQTT 3.1.1; MQTT 5 has a password alone as well.
    if version == Version::V4 && has_password && !has_user {
        return Err(Reason::MalformedPacket);
    }
    let keep_alive = reader.two()?;
    let said = Properties::read(version, Place::Connect, &mut reader)?;
    let client = reader.text()?.to_owned();
    let will = match has_will {
        true => Some(will(version, will_qos, flag(5), &mut reader)?),
        false => None,
    };
    if has_user {
        reader.text()?;
    }
    let password = match has_password {
        true => Some(reader.binary()?),
        false => None,
    };
    end(&reader)?;
    if said.authentication_data && said.authentication_method.is_none() {
        return Err(Reason::ProtocolError);
    }
    Ok(Connect {
        version,
        clean: flag(1),
        keep_alive,
        client,
        // What is no text is no token, and is refused as one that is not known.
        password: password.map(|bytes| Secret::new(String::from_utf8_lossy(bytes))),
        will,
        expiry: said.session_expiry,
        receive_maximum: said.receive_maximum.unwrap_or(u16::MAX),
        maximum_packet: said.maximum_packet.unwrap_or(u32::MAX),
        alias_maximum: said.alias_maximum.unwrap_or(0),
        wants_response_information: said.request_response_information,
        wants_authentication: said.authentication_method.is_some(),
    })
}

fn will(version: Version, qos: u8, retain: bool, reader: &mut Reader<'_>) -> Result<Will, Reason> {
    let said = Properties::read(version, Place::Will, reader)?;
    let topic = reader.text()?;
    if !is_topic(topic) {
        return Err(Reason::TopicNameInvalid);
    }
    Ok(Will {
        message: Publish {
            topic: topic.to_owned(),
            payload: Bytes::copy_from_slice(reader.binary()?),
            qos,
            retain,
            expiry: said.expiry,
            beside: said.beside,
            ..Publish::default()
        },
        delay: said.will_delay.unwrap_or(0),
    })
}

/// Reads any later packet.
pub fn packet(version: Version, head: u8, body: &[u8]) -> Result<Packet, Reason> {
    let (kind, flags) = (head >> 4, head & 0x0f);
    if kind == 3 {
        return publish(version, flags, body).map(Packet::Publish);
    }
    // §2.1.3: the flags of all others are fixed.
    let fixed = if matches!(kind, 6 | 8 | 10) { 2 } else { 0 };
    if flags != fixed {
        return Err(Reason::MalformedPacket);
    }
    let mut reader = Reader(body);
    let packet = match kind {
        4 => ack(version, Ack::Puback, &mut reader)?,
        5 => ack(version, Ack::Pubrec, &mut reader)?,
        6 => ack(version, Ack::Pubrel, &mut reader)?,
        7 => ack(version, Ack::Pubcomp, &mut reader)?,
        8 => subscribe(version, &mut reader)?,
        10 => unsubscribe(version, &mut reader)?,
        12 => Packet::Ping,
        14 => disconnect(version, &mut reader)?,
        15 if version == Version::V5 => return Ok(Packet::Auth),
        // A second CONNECT; or what only a server sends.
        1 | 2 | 9 | 11 | 13 => return Err(Reason::ProtocolError),
        _ => return Err(Reason::MalformedPacket),
    };
    end(&reader)?;
    Ok(packet)
}

fn publish(version: Version, flags: u8, body: &[u8]) -> Result<Publish, Reason> {
    let mut reader = Reader(body);
    let (again, qos, retain) = (flags & 8 != 0, (flags >> 1) & 3, flags & 1 != 0);
    if qos == 3 || (again && qos == 0) {
        return Err(Reason::MalformedPacket);
    }
    let topic = reader.text()?;
    if topic.contains(['+', '#']) {
        return Err(Reason::TopicNameInvalid);
    }
    let id = if qos > 0 { reader.id()? } else { 0 };
    let said = Properties::read(version, Place::Publish, &mut reader)?;
    if topic.is_empty() && said.alias.is_none() {
        return Err(match version {
            Version::V5 => Reason::ProtocolError,
            Version::V4 => Reason::TopicNameInvalid,
        });
    }
    Ok(Publish {
        topic: topic.to_owned(),
        payload: Bytes::copy_from_slice(reader.0),
        qos,
        retain,
        again,
        id,
        alias: said.alias,
        expiry: said.expiry,
        beside: said.beside,
    })
}

fn ack(version: Version, ack: Ack, reader: &mut Reader<'_>) -> Result<Packet, Reason> {
    let id = reader.id()?;
    let mut reason = 0;
    if version == Version::V5 && !reader.is_empty() {
        reason = reader.byte()?;
        if !reader.is_empty() {
            Properties::read(version, Place::Ack, reader)?;
        }
    }
    Ok(Packet::Ack(ack, id, reason))
}

fn subscribe(version: Version, reader: &mut Reader<'_>) -> Result<Packet, Reason> {
    let id = reader.id()?;
    let said = Properties::read(version, Place::Subscribe, reader)?;
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let filter = filter(reader)?;
        let options = reader.byte()?;
        let (qos, handling) = (options & 3, (options >> 4) & 3);
        let reserved = match version {
            Version::V4 => options & 0xfc,
            Version::V5 => options & 0xc0,
        };
        if reserved != 0 || qos == 3 {
            return Err(Reason::MalformedPacket);
        }
        let no_local = options & 4 != 0;
        // §3.8.3.1: none of what several share is local.
        if handling == 3 || (no_local && filter.starts_with(super::topic::SHARED)) {
            return Err(Reason::ProtocolError);
        }
        filters.push(Wish {
            filter,
            qos,
            no_local,
            as_published: options & 8 != 0,
            handling,
        });
    }
    if filters.is_empty() {
        return Err(Reason::ProtocolError);
    }
    Ok(Packet::Subscribe {
        id,
        identifier: said.identifier,
        filters,
    })
}

fn unsubscribe(version: Version, reader: &mut Reader<'_>) -> Result<Packet, Reason> {
    let id = reader.id()?;
    Properties::read(version, Place::Unsubscribe, reader)?;
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(filter(reader)?);
    }
    match filters.is_empty() {
        true => Err(Reason::ProtocolError),
        false => Ok(Packet::Unsubscribe { id, filters }),
    }
}

fn filter(reader: &mut Reader<'_>) -> Result<String, Reason> {
    let filter = reader.text()?;
    match is_filter(filter) {
        true => Ok(filter.to_owned()),
        false => Err(Reason::TopicFilterInvalid),
    }
}

fn disconnect(version: Version, reader: &mut Reader<'_>) -> Result<Packet, Reason> {
    let (mut reason, mut expiry) = (0, None);
    if version == Version::V5 && !reader.is_empty() {
        reason = reader.byte()?;
        if !reader.is_empty() {
            let said = Properties::read(version, Place::Disconnect, reader)?;
            expiry = said.session_expiry;
        }
    }
    Ok(Packet::Disconnect { reason, expiry })
}

fn end(reader: &Reader<'_>) -> Result<(), Reason> {
    match reader.is_empty() {
        true => Ok(()),
        false => Err(Reason::MalformedPacket),
    }
}

//! The properties of MQTT 5 (§2.2.2): which may stand where, and each of them once.

use bytes::{BufMut, Bytes, BytesMut};

use super::Reason;
use super::packet::Version;
use super::topic::is_topic;
use super::wire::{Reader, put_binary, put_varint, varint_size};
use crate::channel::Beside;

/// Where properties stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    Ack,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

/// What a client said in the properties of one packet.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) session_expiry: Option<u32>,
    pub(super) receive_maximum: Option<u16>,
    pub(super) maximum_packet: Option<u32>,
    pub(super) alias_maximum: Option<u16>,
    pub(super) request_response_information: bool,
    pub(super) authentication_method: Option<String>,
    pub(super) authentication_data: bool,
    pub(super) will_delay: Option<u32>,
    pub(super) expiry: Option<u32>,
    pub(super) alias: Option<u16>,
    pub(super) identifier: Option<u32>,
    pub(super) beside: Option<Box<Beside>>,
}

impl Properties {
    /// Reads them with their length; MQTT 3.1.1 has none.
    pub(super) fn read(
        version: Version,
        place: Place,
        reader: &mut Reader<'_>,
    ) -> Result<Properties, Reason> {
        let mut said = Properties::default();
        if version == Version::V4 {
            return Ok(said);
        }
        let length = reader.varint()?;
        let mut reader = Reader(reader.take(length as usize)?);
        let mut seen = 0u64;
        while !reader.is_empty() {
            let id = reader.byte()?;
            if !may_stand(id, place) {
                return Err(Reason::MalformedPacket);
            }
            let bit = 1u64 << id;
            if id != USER && seen & bit != 0 {
                return Err(Reason::ProtocolError);
            }
            seen |= bit;
            said.one(id, &mut reader)?;
        }
        Ok(said)
    }

    fn one(&mut self, id: u8, reader: &mut Reader<'_>) -> Result<(), Reason> {
        let positive = |value| match value {
            0 => Err(Reason::ProtocolError),
            value => Ok(value),
        };
        match id {
            0x01 => self.beside().utf8 = reader.flag()?,
            0x02 => self.expiry = Some(reader.four()?),
            0x03 => self.beside().content_type = Some(reader.text()?.to_owned()),
            0x08 => {
                let topic = reader.text()?;
                if !is_topic(topic) {
                    return Err(Reason::ProtocolError);
                }
                self.beside().response_topic = Some(topic.to_owned());
            }
            0x09 => self.beside().correlation = Some(Bytes::copy_from_slice(reader.binary()?)),
            0x0b => self.identifier = Some(positive(reader.varint()?)?),
            0x11 => self.session_expiry = Some(reader.four()?),
            0x15 => self.authentication_method = Some(reader.text()?.to_owned()),
            0x16 => {
                reader.binary()?;
                self.authentication_data = true;
            }
            0x17 => drop(reader.flag()?),
            0x18 => self.will_delay = Some(reader.four()?),
            0x19 => self.request_response_information = reader.flag()?,
            0x1f => drop(reader.text()?),
            0x21 => self.receive_maximum = Some(positive(reader.two()?.into())? as u16),
            0x22 => self.alias_maximum = Some(reader.two()?),
            0x23 => match reader.two()? {
                0 => return Err(Reason::TopicAliasInvalid),
                alias => self.alias = Some(alias),
            },
            USER => {
                let (name, value) = (reader.text()?, reader.text()?);
                self.beside().user.push((name.to_owned(), value.to_owned()));
            }
            0x27 => self.maximum_packet = Some(positive(reader.four()?)?),
            _ => return Err(Reason::MalformedPacket),
        }
        Ok(())
    }

    fn beside(&mut self) -> &mut Beside {
        self.beside.get_or_insert_default()
    }
}

const USER: u8 = 0x26;

/// Table 2-4 of the standard, as far as clients send it.
fn may_stand(id: u8, place: Place) -> bool {
    use Place::{Ack, Connect, Disconnect, Publish, Subscribe, Unsubscribe, Will};
    match id {
        0x01 | 0x02 | 0x03 | 0x08 | 0x09 => matches!(place, Publish | Will),
        0x0b => place == Subscribe,
        0x11 => matches!(place, Connect | Disconnect),
        0x15 | 0x16 | 0x17 | 0x19 | 0x21 | 0x22 | 0x27 => place == Connect,
        0x18 => place == Will,
        0x1f => matches!(place, Ack | Disconnect),
        0x23 => place == Publish,
        USER => matches!(
            place,
            Connect | Will | Publish | Ack | Subscribe | Unsubscribe | Disconnect
        ),
        _ => false,
    }
}

/// Properties on their way out: written one after the other, then put behind their length.
#[derive(Debug, Default)]
pub(super) struct Written(BytesMut);

impl Written {
    pub(super) fn byte(&mut self, id: u8, value: u8) {
        self.0.put_slice(&[id, value]);
    }

    pub(super) fn two(&mut self, id: u8, value: u16) {
        self.0.put_u8(id);
        self.0.put_u16(value);
    }

    pub(super) fn four(&mut self, id: u8, value: u32) {
        self.0.put_u8(id);
        self.0.put_u32(value);
    }

    pub(super) fn varint(&mut self, id: u8, value: u32) {
        self.0.put_u8(id);
        put_varint(&mut self.0, value as usize);
    }

    pub(super) fn binary(&mut self, id: u8, value: &[u8]) {
        self.0.put_u8(id);
        put_binary(&mut self.0, value);
    }

    pub(super) fn beside(&mut self, beside: &Beside) {
        if beside.utf8 {
            self.byte(0x01, 1);
        }
        if let Some(kind) = &beside.content_type {
            self.binary(0x03, kind.as_bytes());
        }
        if let Some(topic) = &beside.response_topic {
            self.binary(0x08, topic.as_bytes());
        }
        if let Some(correlation) = &beside.correlation {
            self.binary(0x09, correlation);
        }
        for (name, value) in &beside.user {
            self.binary(USER, name.as_bytes());
            put_binary(&mut self.0, value.as_bytes());
        }
    }

    /// With their length.
    pub(super) fn size(&self) -> usize {
        varint_size(self.0.len()) + self.0.len()
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        put_varint(out, self.0.len());
        out.put_slice(&self.0);
    }
}

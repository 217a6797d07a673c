//! The primitives of the wire (MQTT 5.0 §1.5) and the frame around every packet (§2.1).

use bytes::{BufMut, BytesMut};

use super::Reason;

/// The largest variable byte integer (§1.5.5).
pub const LARGEST: u32 = 268_435_455;

/// Where a packet lies in what was read: its first byte, and where its body begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The type of the packet and its flags.
    pub head: u8,
    /// Where the body begins.
    pub start: usize,
    /// Where the next packet begins.
    pub end: usize,
}

/// Looks for a whole packet of at most `most` bytes at the beginning of what was read. Nothing is
/// set aside for one that only announces its length.
pub fn frame(read: &[u8], most: usize) -> Result<Option<Frame>, Reason> {
    let Some((&head, lengths)) = read.split_first() else {
        return Ok(None);
    };
    let mut length = 0usize;
    for (index, byte) in lengths.iter().enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            // §1.5.5: as few bytes as possible.
            if index > 0 && *byte == 0 {
                return Err(Reason::MalformedPacket);
            }
            let start = index + 2;
            let end = start + length;
            if end > most {
                return Err(Reason::PacketTooLarge);
            }
            return Ok((read.len() >= end).then_some(Frame { head, start, end }));
        }
        if index == 3 {
            return Err(Reason::MalformedPacket);
        }
    }
    Ok(None)
}

/// Reads a body from its beginning to its end.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(Reason::MalformedPacket)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Reason> {
        Ok(self.take(1)?[0])
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self) -> Result<bool, Reason> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Reason::ProtocolError),
        }
    }

    pub(super) fn two(&mut self) -> Result<u16, Reason> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn four(&mut self) -> Result<u32, Reason> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A packet identifier, which is never 0 (§2.2.1).
    pub(super) fn id(&mut self) -> Result<u16, Reason> {
        match self.two()? {
            0 => Err(Reason::ProtocolError),
            id => Ok(id),
        }
    }

    pub(super) fn varint(&mut self) -> Result<u32, Reason> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let shortest = index == 0 || byte != 0;
                return shortest.then_some(value).ok_or(Reason::MalformedPacket);
            }
        }
        Err(Reason::MalformedPacket)
    }

    pub(super) fn binary(&mut self) -> Result<&'a [u8], Reason> {
        let length = self.two()?;
        self.take(length.into())
    }

    /// UTF-8 without U+0000 (§1.5.4).
    pub(super) fn text(&mut self) -> Result<&'a str, Reason> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Reason::MalformedPacket)?;
        match text.contains('\0') {
            true => Err(Reason::MalformedPacket),
            false => Ok(text),
        }
    }
}

/// How many bytes a variable byte integer takes.
pub(super) fn varint_size(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}

pub(super) fn put_varint(out: &mut BytesMut, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.put_u8(byte);
        }
        out.put_u8(byte | 0x80);
    }
}

/// A text or binary data. What is too long for the wire is cut; callway makes nothing that is.
pub(super) fn put_binary(out: &mut BytesMut, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(u16::MAX.into())];
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_found_once_it_is_whole() {
        let packet = [0x30, 0x81, 0x01];
        assert_eq!(frame(&[], 500), Ok(None));
        assert_eq!(frame(&packet[..1], 500), Ok(None));
        assert_eq!(frame(&packet[..2], 500), Ok(None));
        assert_eq!(frame(&packet, 500), Ok(None));
        let mut whole = packet.to_vec();
        whole.resize(3 + 129, 0);
        let found = Frame {
            head: 0x30,
            start: 3,
            end: 132,
        };
        assert_eq!(frame(&whole, 500), Ok(Some(found)));
        assert_eq!(frame(&[0xc0, 0, 0xc0, 0], 500).unwrap().unwrap().end, 2);
    }

    #[test]
    fn lengths_that_are_none_are_refused_at_once() {
        for broken in [
            &[0x10, 0xff, 0xff, 0xff, 0xff][..],
            &[0x10, 0x80, 0x80, 0x80, 0x80, 0x01],
            &[0x10, 0x80, 0x00],
        ] {
            assert_eq!(
                frame(broken, 500),
                Err(Reason::MalformedPacket),
                "{broken:?}"
            );
        }
        // Nothing of it is there yet.
        assert_eq!(
            frame(&[0x10, 0xff, 0xff, 0xff, 0x7f], 500),
            Err(Reason::PacketTooLarge)
        );
        assert_eq!(frame(&[0x10, 0xf5, 0x03], 500), Err(Reason::PacketTooLarge));
    }

    #[test]
    fn integers_take_the_fewest_bytes() {
        for value in [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, LARGEST] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value as usize);
            assert_eq!(out.len(), varint_size(value as usize));
            assert_eq!(Reader(&out).varint(), Ok(value));
        }
        assert!(Reader(&[0x80, 0x00]).varint().is_err());
        assert!(Reader(&[0xff, 0xff, 0xff, 0xff]).varint().is_err());
    }

    #[test]
    fn texts_hold_no_nul_and_nothing_but_utf8() {
        assert_eq!(Reader(&[0, 2, b'a', b'b']).text(), Ok("ab"));
        for broken in [&[0, 1, 0][..], &[0, 1, 0xff], &[0, 2, b'a'], &[0]] {
            assert_eq!(Reader(broken).text(), Err(Reason::MalformedPacket));
        }
    }
}

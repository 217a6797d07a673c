//! Any bytes that a client may send, in any pieces.

use bytes::{Buf as _, BytesMut};
use callway::dialect::mqtt::{Packet, Reason, Version, connect, frame, packet};

use crate::{MEMORY, writer};

/// The largest packet, and the longest input that is looked at.
const MOST: usize = 16 * 1024;
/// Bytes of memory for each byte that came, and for none: a filter of one byte costs the most.
const FOR_EACH: usize = 128;
const FOR_NONE: usize = 64 * 1024;

/// The pieces in which bytes come make no difference, every packet that is accepted says the same
/// when it is written again, and memory is taken for what came alone.
pub fn check(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first().filter(|_| data.len() <= MOST) else {
        return;
    };
    let version = [Version::V5, Version::V4][usize::from(first & 1)];
    let piece = usize::from(first >> 1) + 1;
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let whole = read(version, bytes, MOST);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        taken <= FOR_NONE + FOR_EACH * bytes.len(),
        "{taken} bytes of memory for {} that came",
        bytes.len()
    );
    assert_eq!(whole, read(version, bytes, piece), "in pieces of {piece}");
    let mut version = version;
    for packet in whole.into_iter().flatten() {
        if let Packet::Connect(connect) = &packet {
            version = connect.version;
        }
        let again = read(version, &writer::packet(version, &packet), MOST);
        assert_eq!(again, [Ok(packet)], "written again");
    }
}

/// The packets of a connection, up to what ends it.
fn read(mut version: Version, bytes: &[u8], piece: usize) -> Vec<Result<Packet, Reason>> {
    let mut input = BytesMut::new();
    let mut said = Vec::new();
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            let one = match frame(&input, MOST) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    assert!(2 <= frame.start && frame.start <= frame.end, "it moves on");
                    let body = &input[frame.start..frame.end];
                    let one = one(&mut version, said.is_empty(), frame.head, body);
                    input.advance(frame.end);
                    one
                }
                Err(reason) => Err(reason),
            };
            said.push(one);
            if matches!(said.last(), Some(Err(_))) {
                return said;
            }
        }
    }
    said
}

fn one(version: &mut Version, first: bool, head: u8, body: &[u8]) -> Result<Packet, Reason> {
    if !first || head != 0x10 {
        return packet(*version, head, body);
    }
    let connect = connect(head, body).map_err(|(_, reason)| reason)?;
    *version = connect.version;
    Ok(Packet::Connect(Box::new(connect)))
}

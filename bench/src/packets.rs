//! The few MQTT 3.1.1 packets that a load needs, by hand, so that they cost little.

/// The broker took the connection.
pub const CONNACK: u8 = 2;
/// A message.
pub const PUBLISH: u8 = 3;
/// The broker has a message.
pub const PUBACK: u8 = 4;
/// The broker took a subscription.
pub const SUBACK: u8 = 9;

/// Opens a clean session without keep-alive.
pub fn connect(client_id: &str) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
    text(&mut body, client_id);
    let mut out = Vec::new();
    head(&mut out, 0x10, body.len());
    out.extend(body);
    out
}

/// Subscribes to one filter at QoS 0.
pub fn subscribe(filter: &str) -> Vec<u8> {
    let mut out = Vec::new();
    head(&mut out, 0x82, 2 + 2 + filter.len() + 1);
    out.extend([0, 1]);
    text(&mut out, filter);
    out.push(0);
    out
}

/// Appends a message; with an identifier at QoS 1, without at QoS 0.
pub fn publish(out: &mut Vec<u8>, topic: &str, payload: &[u8], id: Option<u16>) {
    let (first, id) = match &id {
        Some(id) => (0x32, &id.to_be_bytes()[..]),
        None => (0x30, &[][..]),
    };
    head(out, first, 2 + topic.len() + id.len() + payload.len());
    text(out, topic);
    out.extend_from_slice(id);
    out.extend_from_slice(payload);
}

/// Type and length of the first packet, once it is whole.
pub fn first(input: &[u8]) -> Option<(u8, usize)> {
    let kind = input.first()? >> 4;
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = *input.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte < 0x80 {
            break;
        }
    }
    (input.len() >= at + length).then_some((kind, at + length))
}

fn head(out: &mut Vec<u8>, first: u8, mut length: usize) {
    out.push(first);
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

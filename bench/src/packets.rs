//! The few MQTT 3.1.1 packets that a load needs, by hand, so that they cost little.

/// The broker took the connection.
pub const CONNACK: u8 = 2;
/// A message.
pub const PUBLISH: u8 = 3;
/// The broker has a message.
pub const PUBACK: u8 = 4;
/// The broker took a subscription.
pub const SUBACK: u8 = 9;

/// How a client connects.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The client identifier.
    pub client: &'a str,
    /// The password, where one is needed.
    pub token: Option<&'a str>,
    /// The session ends with the connection.
    pub clean: bool,
    /// Seconds; 0 for no bound.
    pub keep_alive: u16,
}

/// Opens a clean session without keep-alive.
pub fn connect(client: &str) -> Vec<u8> {
    login(Login {
        client,
        token: None,
        clean: true,
        keep_alive: 0,
    })
}

/// Opens a session.
pub fn login(login: Login<'_>) -> Vec<u8> {
    let credentials = if login.token.is_some() { 0xc0 } else { 0 };
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.push(credentials | u8::from(login.clean) << 1);
    body.extend(login.keep_alive.to_be_bytes());
    text(&mut body, login.client);
    if let Some(token) = login.token {
        text(&mut body, "bench");
        text(&mut body, token);
    }
    let mut out = Vec::new();
    head(&mut out, 0x10, body.len());
    out.extend(body);
    out
}

/// Subscribes to one filter.
pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut out = Vec::new();
    head(&mut out, 0x82, 2 + 2 + filter.len() + 1);
    out.extend([0, 1]);
    text(&mut out, filter);
    out.push(qos);
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

/// Appends the acknowledgement of a message of QoS 1.
pub fn acknowledge(out: &mut Vec<u8>, id: u16) {
    head(out, PUBACK << 4, 2);
    out.extend(id.to_be_bytes());
}

/// Identifier, if it has one, and payload of a whole PUBLISH.
pub fn message(packet: &[u8]) -> Option<(Option<u16>, &[u8])> {
    let lengths = packet.get(1..)?;
    let start = 1 + lengths.iter().position(|byte| *byte < 0x80)? + 1;
    let (size, rest) = packet.get(start..)?.split_at_checked(2)?;
    let topic = usize::from(u16::from_be_bytes([size[0], size[1]]));
    let rest = rest.get(topic..)?;
    if packet[0] & 0x06 == 0 {
        return Some((None, rest));
    }
    let (id, payload) = rest.split_at_checked(2)?;
    Some((Some(u16::from_be_bytes([id[0], id[1]])), payload))
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

//! What a client says, as bytes; written from the standard, apart from what callway writes.

use callway::channel::Beside;
use callway::dialect::mqtt::{Connect, Packet, Publish, Version, Will, Wish};

/// A packet with all that it means.
pub(crate) fn packet(version: Version, packet: &Packet) -> Vec<u8> {
    let mut body = Vec::new();
    let head = match packet {
        Packet::Connect(said) => {
            connect(said, &mut body);
            0x10
        }
        Packet::Publish(said) => {
            text(&mut body, &said.topic);
            if said.qos > 0 {
                body.extend(said.id.to_be_bytes());
            }
            let mut properties = of_message(said);
            if let Some(alias) = said.alias {
                properties.push(0x23);
                properties.extend(alias.to_be_bytes());
            }
            put(version, &mut body, &properties);
            body.extend(&said.payload);
            let again = u8::from(said.again) << 3;
            0x30 | again | said.qos << 1 | u8::from(said.retain)
        }
        Packet::Ack(ack, id, reason) => {
            body.extend(id.to_be_bytes());
            if *reason != 0 {
                body.push(*reason);
            }
            (*ack as u8) << 4 | if *ack as u8 == 6 { 2 } else { 0 }
        }
        Packet::Subscribe {
            id,
            identifier,
            filters,
        } => {
            body.extend(id.to_be_bytes());
            let mut properties = Vec::new();
            if let Some(identifier) = identifier {
                properties.push(0x0b);
                variable(&mut properties, *identifier as usize);
            }
            put(version, &mut body, &properties);
            filters.iter().for_each(|one| wish(one, &mut body));
            0x82
        }
        Packet::Unsubscribe { id, filters } => {
            body.extend(id.to_be_bytes());
            put(version, &mut body, &[]);
            filters.iter().for_each(|filter| text(&mut body, filter));
            0xa2
        }
        Packet::Ping => 0xc0,
        Packet::Disconnect { reason, expiry } => {
            if version == Version::V5 {
                body.push(*reason);
                let mut properties = Vec::new();
                four(&mut properties, 0x11, *expiry);
                put(version, &mut body, &properties);
            }
            0xe0
        }
        Packet::Auth => 0xf0,
    };
    let mut bytes = vec![head];
    variable(&mut bytes, body.len());
    bytes.extend(body);
    bytes
}

fn connect(said: &Connect, body: &mut Vec<u8>) {
    let password = said.password.as_ref();
    text(body, "MQTT");
    body.push(if said.version == Version::V5 { 5 } else { 4 });
    let mut flags = u8::from(said.clean) << 1;
    if password.is_some() {
        flags |= 0xc0;
    }
    if let Some(Will { message, .. }) = &said.will {
        flags |= 4 | message.qos << 3 | u8::from(message.retain) << 5;
    }
    body.push(flags);
    body.extend(said.keep_alive.to_be_bytes());
    let mut properties = Vec::new();
    four(&mut properties, 0x11, said.expiry);
    two(&mut properties, 0x21, said.receive_maximum);
    four(&mut properties, 0x27, Some(said.maximum_packet));
    two(&mut properties, 0x22, said.alias_maximum);
    properties.extend([0x19, u8::from(said.wants_response_information)]);
    if said.wants_authentication {
        properties.push(0x15);
        text(&mut properties, "x");
    }
    put(said.version, body, &properties);
    text(body, &said.client);
    if let Some(Will { message, delay }) = &said.will {
        let mut properties = of_message(message);
        four(&mut properties, 0x18, Some(*delay));
        put(said.version, body, &properties);
        text(body, &message.topic);
        binary(body, &message.payload);
    }
    if let Some(password) = password {
        text(body, "any user");
        text(body, password.expose());
    }
}

fn wish(wish: &Wish, body: &mut Vec<u8>) {
    text(body, &wish.filter);
    let local = u8::from(wish.no_local) << 2 | u8::from(wish.as_published) << 3;
    body.push(wish.qos | local | wish.handling << 4);
}

fn of_message(message: &Publish) -> Vec<u8> {
    let mut out = Vec::new();
    four(&mut out, 0x02, message.expiry);
    let Some(beside) = message.beside.as_deref() else {
        return out;
    };
    let Beside {
        utf8,
        content_type,
        response_topic,
        correlation,
        user,
    } = beside;
    out.extend([0x01, u8::from(*utf8)]);
    for (id, said) in [(0x03, content_type), (0x08, response_topic)] {
        if let Some(said) = said {
            out.push(id);
            text(&mut out, said);
        }
    }
    if let Some(correlation) = correlation {
        out.push(0x09);
        binary(&mut out, correlation);
    }
    for (name, value) in user {
        out.push(0x26);
        text(&mut out, name);
        text(&mut out, value);
    }
    out
}

/// Properties behind their length; MQTT 3.1.1 has none.
fn put(version: Version, body: &mut Vec<u8>, properties: &[u8]) {
    if version == Version::V5 {
        variable(body, properties.len());
        body.extend(properties);
    }
}

fn two(out: &mut Vec<u8>, id: u8, value: u16) {
    out.push(id);
    out.extend(value.to_be_bytes());
}

fn four(out: &mut Vec<u8>, id: u8, value: Option<u32>) {
    if let Some(value) = value {
        out.push(id);
        out.extend(value.to_be_bytes());
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    binary(out, text.as_bytes());
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(bytes);
}

fn variable(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

//! Reads an MQTT connection along and tells what is delivered and acknowledged on it: the referee where a
//! broker forgets what it has acknowledged itself.

use std::collections::HashMap;
use std::sync::Arc;

use super::mqtt::{Version, packet, parse_publish};

/// What is told with the payload of a message of QoS 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The broker acknowledged what the client published.
    Confirmed,
    /// The broker delivers, perhaps not for the first time.
    Offered,
    /// The client acknowledged what the broker delivered.
    Taken,
}

/// Hears of it in the order in which it was sent.
pub struct Observer(Box<Tell>);

type Tell = dyn Fn(Seen, &[u8]) + Send + Sync;

impl Observer {
    /// One that is told.
    pub fn new(tell: impl Fn(Seen, &[u8]) + Send + Sync + 'static) -> Observer {
        Observer(Box::new(tell))
    }
}

/// One connection, read along.
pub struct Watch {
    observer: Arc<Observer>,
    version: Version,
    client: Side,
    broker: Side,
}

/// What one side said.
#[derive(Default)]
struct Side {
    /// The beginning of a packet whose end has not come yet.
    rest: Vec<u8>,
    /// The payloads that it sent and the other side has not acknowledged, by packet id.
    waiting: HashMap<u16, Vec<u8>>,
}

impl Watch {
    /// A connection that begins.
    pub fn new(observer: Arc<Observer>) -> Watch {
        Watch {
            observer,
            version: Version::V4,
            client: Side::default(),
            broker: Side::default(),
        }
    }

    /// Bytes on their way to the broker, cut anywhere.
    pub fn client_said(&mut self, bytes: &[u8]) {
        for (kind, body) in self.client.packets(bytes) {
            match kind >> 4 {
                // CONNECT: the level stands behind the name `MQTT` and its length.
                1 if body.get(6) == Some(&5) => self.version = Version::V5,
                3 => drop(self.client.sends(kind, &body, self.version)),
                4 => tell(&self.observer, Seen::Taken, &mut self.broker, &body),
                _ => {}
            }
        }
    }

    /// Bytes on their way to the client, cut anywhere.
    pub fn broker_said(&mut self, bytes: &[u8]) {
        for (kind, body) in self.broker.packets(bytes) {
            match kind >> 4 {
                3 => {
                    if let Some(payload) = self.broker.sends(kind, &body, self.version) {
                        (self.observer.0)(Seen::Offered, payload);
                    }
                }
                4 => tell(&self.observer, Seen::Confirmed, &mut self.client, &body),
                _ => {}
            }
        }
    }
}

impl Side {
    fn packets(&mut self, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        self.rest.extend_from_slice(bytes);
        let mut packets = Vec::new();
        let mut read = 0;
        while let Some((kind, body)) = packet(&self.rest[read..]) {
            packets.push((kind, self.rest[read..][body.clone()].to_vec()));
            read += body.end;
        }
        self.rest.drain(..read);
        packets
    }

    /// Notes a PUBLISH; the payload if it is of QoS 1.
    fn sends(&mut self, kind: u8, body: &[u8], version: Version) -> Option<&[u8]> {
        let (message, id) = parse_publish(kind, body, version).expect("a malformed PUBLISH");
        let id = id.filter(|_| message.qos == 1)?;
        let payload = self.waiting.entry(id).insert_entry(message.payload);
        Some(payload.into_mut())
    }
}

/// A PUBACK: the packet id, and with MQTT 5 perhaps a reason, which from 0x80 on is a refusal.
fn tell(observer: &Observer, seen: Seen, sender: &mut Side, body: &[u8]) {
    let id = u16::from_be_bytes([body[0], body[1]]);
    let refused = body.get(2).is_some_and(|reason| *reason >= 0x80);
    match sender.waiting.remove(&id) {
        Some(payload) if !refused => (observer.0)(seen, &payload),
        _ => {}
    }
}

#[test]
fn acknowledgements_are_told_and_refusals_are_not() {
    use parking_lot::Mutex;

    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    let tell = move |seen, payload: &[u8]| teller.lock().push((seen, payload.to_vec()));
    let mut watch = Watch::new(Arc::new(Observer::new(tell)));
    let connect = [0x10, 10, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60];
    let publish = |id, payload| [0x32, 7, 0, 1, b't', 0, id, 0, payload];
    let client = [
        &connect[..],
        &publish(1, b'a'),
        &publish(2, b'b'),
        &publish(3, b'c'),
    ];
    // One byte after the other: packets come as they like.
    for byte in client.concat() {
        watch.client_said(&[byte]);
    }
    watch.broker_said(&[0x40, 2, 0, 2, 0x40, 3, 0, 1, 0x87]);
    watch.broker_said(&publish(3, b'd'));
    watch.client_said(&[0x40, 2, 0, 3]);
    let expected = [
        (Seen::Confirmed, b"b".to_vec()),
        (Seen::Offered, b"d".to_vec()),
        (Seen::Taken, b"d".to_vec()),
    ];
    assert_eq!(*told.lock(), expected);
}

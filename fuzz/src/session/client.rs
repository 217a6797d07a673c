//! A client that keeps to the standard, and notices when the server does not.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use callway::dialect::mqtt::{Ack, Connect, Packet, Publish, RECEIVE_MAXIMUM, Version};

use crate::choices::Choices;
use crate::reader::{Delivery, Said};

/// The topic of a message by its number, which is its payload.
pub(super) fn topic(number: u64) -> &'static str {
    ["a", "b/c", "/"][(number % 3) as usize]
}

/// A message from the server that is not done with.
struct Coming {
    number: u64,
    qos: u8,
    /// It came on this connection.
    here: bool,
    /// QoS 2: PUBREC is said, which nothing takes back.
    received: bool,
}

/// A message to the server that is not done with.
struct Going {
    number: u64,
    qos: u8,
    /// QoS 2: PUBREC came, PUBREL is said.
    released: bool,
}

/// How far the server is with a message of QoS 2 of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    UnderWay,
    CarriedOut,
    /// MQTT 3.1.1 cannot refuse: it is acknowledged all the same.
    Dropped,
}

pub(super) struct Client {
    version: Version,
    window: usize,
    largest: usize,
    aliases: HashMap<u16, String>,
    coming: BTreeMap<u16, Coming>,
    going: BTreeMap<u16, Going>,
    /// Acknowledgements that are to be said.
    owes: VecDeque<(Ack, u16)>,
    /// The last message that came on this connection.
    last: u64,
    /// Messages of QoS 2 that were taken.
    taken: BTreeSet<u64>,
    /// Messages of QoS 2 of the client's that the server has, as it knows itself.
    stages: BTreeMap<u64, Stage>,
    /// First tries of this connection, by QoS, in their order.
    awaited: [VecDeque<u16>; 3],
    sent: u64,
    /// Answers to what was no answer.
    pub(super) strays: u32,
}

impl Client {
    pub(super) fn new(version: Version) -> Client {
        Client {
            version,
            window: 0,
            largest: 0,
            aliases: HashMap::new(),
            coming: BTreeMap::new(),
            going: BTreeMap::new(),
            owes: VecDeque::new(),
            last: 0,
            taken: BTreeSet::new(),
            stages: BTreeMap::new(),
            awaited: Default::default(),
            sent: 0,
            strays: 0,
        }
    }

    /// A connection with the same session; says what is sent again on it (§4.4).
    pub(super) fn connected(&mut self, hello: &Connect) -> Vec<Packet> {
        self.window = hello.receive_maximum.into();
        self.largest = hello.maximum_packet as usize;
        let again = self.going.iter().map(|(id, one)| match one.released {
            true => Packet::Ack(Ack::Pubrel, *id, 0),
            false => Packet::Publish(message(one.number, *id, one.qos, true)),
        });
        again.collect()
    }

    pub(super) fn lost(&mut self) {
        self.coming.values_mut().for_each(|one| one.here = false);
        self.aliases.clear();
        self.owes.clear();
        self.awaited = Default::default();
        (self.last, self.strays) = (0, 0);
    }

    pub(super) fn has(&self, id: u16) -> bool {
        self.coming.contains_key(&id) || self.going.contains_key(&id)
    }

    /// A new message, if the server takes one more.
    pub(super) fn publish(&mut self, choices: &mut Choices<'_>) -> Option<Publish> {
        let qos = choices.below(3) as u8;
        self.sent += 1;
        if qos == 0 {
            return Some(message(self.sent, 0, 0, false));
        }
        if self.going.len() >= RECEIVE_MAXIMUM.into() {
            return None;
        }
        let id = (1..=u16::MAX).find(|id| !self.going.contains_key(id))?;
        self.going.insert(
            id,
            Going {
                number: self.sent,
                qos,
                released: false,
            },
        );
        self.awaited[usize::from(qos)].push_back(id);
        Some(message(self.sent, id, qos, false))
    }

    /// The server left a message in the socket.
    pub(super) fn not_read(&mut self, id: u16) {
        for awaited in &mut self.awaited {
            awaited.retain(|one| *one != id);
        }
    }

    /// The next acknowledgement, in order or not; the application may refuse a message.
    pub(super) fn owed(&mut self, choices: &mut Choices<'_>) -> Option<(Ack, u16, u8)> {
        let at = match choices.flag() {
            true => choices.below(self.owes.len()),
            false => 0,
        };
        let (ack, id) = self.owes.remove(at)?;
        let fresh = self.coming.get(&id).is_some_and(|one| !one.received);
        let refuses = self.version == Version::V5 && ack == Ack::Pubrec && fresh;
        let reason = if refuses && choices.below(8) == 7 {
            0x80
        } else {
            0
        };
        Some((ack, id, reason))
    }

    /// The server has taken up an acknowledgement; says which message is done with so.
    pub(super) fn was_heard(&mut self, ack: Ack, id: u16, reason: u8) -> Option<u64> {
        match ack {
            Ack::Pubrec if reason < 0x80 => {
                self.coming.get_mut(&id)?.received = true;
                None
            }
            Ack::Puback | Ack::Pubrec | Ack::Pubcomp => {
                self.coming.remove(&id).map(|one| one.number)
            }
            Ack::Pubrel => None,
        }
    }

    pub(super) fn hears(&mut self, said: Said) {
        match said {
            Said::Publish(delivery) => self.delivery(delivery),
            Said::Ack(Ack::Pubrel, id, reason) => match self.coming.get(&id) {
                Some(one) if reason == 0 => {
                    assert!(one.qos == 2 && one.received, "{id} was not received");
                    self.owes.push_back((Ack::Pubcomp, id));
                }
                _ => self.stray(reason),
            },
            Said::Ack(Ack::Pubcomp, id, reason) => match self.going.get(&id) {
                Some(one) if one.released => drop(self.going.remove(&id)),
                _ => self.stray(reason),
            },
            Said::Ack(ack, id, reason) => self.outcome(ack, id, reason >= 0x80),
            Said::Pong => {}
        }
    }

    fn stray(&mut self, reason: u8) {
        assert!(self.strays > 0, "an answer to nothing");
        assert!(self.version == Version::V4 || reason == 0x92, "{reason:x}");
        self.strays -= 1;
    }

    fn delivery(&mut self, delivery: Delivery) {
        assert!(
            delivery.size <= self.largest,
            "larger than the client takes"
        );
        let Some(number) = delivery.payload.first_chunk() else {
            panic!("a payload has a number");
        };
        let number = u64::from_be_bytes(*number);
        let named = match (delivery.alias, delivery.topic.is_empty()) {
            (Some(alias), true) => self.aliases.get(&alias).map(String::as_str),
            (Some(alias), false) => {
                self.aliases.insert(alias, delivery.topic.clone());
                Some(delivery.topic.as_str())
            }
            (None, _) => Some(delivery.topic.as_str()),
        };
        assert_eq!(named, Some(topic(number)), "the topic of {number}");
        assert!(number > self.last, "{number} after {}", self.last);
        self.last = number;
        if delivery.qos == 0 {
            assert!(!delivery.again && delivery.id == 0);
            return;
        }
        let id = delivery.id;
        let known = self.coming.get(&id);
        if let Some(known) = known {
            assert_eq!(known.number, number, "the identifier {id} is used twice");
            assert!(!known.here && delivery.again, "{number} comes twice");
        }
        let received = known.is_some_and(|known| known.received);
        if delivery.qos == 2 && known.is_none() {
            assert!(self.taken.insert(number), "{number} is delivered twice");
        }
        self.coming.insert(
            id,
            Coming {
                number,
                qos: delivery.qos,
                here: true,
                received,
            },
        );
        let here = self.coming.values().filter(|one| one.here).count();
        assert!(here <= self.window, "{here} are not acknowledged");
        let ack = if delivery.qos == 2 {
            Ack::Pubrec
        } else {
            Ack::Puback
        };
        self.owes.push_back((ack, id));
    }

    /// PUBACK or PUBREC.
    fn outcome(&mut self, ack: Ack, id: u16, refused: bool) {
        let qos = if ack == Ack::Pubrec { 2 } else { 1 };
        let Some(one) = self.going.get_mut(&id).filter(|one| one.qos == qos) else {
            panic!("{id} was not published at QoS {qos}");
        };
        let awaited = &mut self.awaited[usize::from(qos)];
        if awaited.contains(&id) {
            assert_eq!(awaited.pop_front(), Some(id), "in the order of arrival");
        }
        let stage = self.stages.get(&one.number).copied();
        if qos == 1 || refused {
            assert_eq!(stage, None, "{id} is refused");
            self.going.remove(&id);
            return;
        }
        assert!(!one.released, "{id} is acknowledged twice");
        let ended = matches!(stage, Some(Stage::CarriedOut | Stage::Dropped));
        assert!(ended, "{id} is {stage:?}");
        one.released = true;
        // Its PUBREL goes at once.
        self.owes.push_back((Ack::Pubrel, id));
    }

    /// The server begins with a message of QoS 1 or 2. Returns its number.
    pub(super) fn is_begun(&mut self, publish: &Publish) -> u64 {
        let number = publish.payload.first_chunk().copied();
        let number = number.map(u64::from_be_bytes);
        let sent = self.going.get(&publish.id);
        let Some(one) = sent.filter(|one| Some(one.number) == number && one.qos == publish.qos)
        else {
            panic!("{publish:?} was not published");
        };
        if one.qos == 2 {
            let before = self.stages.insert(one.number, Stage::UnderWay);
            // Who was not told the outcome tries again what was dropped.
            let again = matches!(before, Some(Stage::UnderWay | Stage::CarriedOut));
            assert!(!again, "{publish:?} is begun again, and was {before:?}");
        }
        one.number
    }

    /// It has carried out a message of QoS 2, which is so even if nobody hears of it.
    pub(super) fn is_carried_out(&mut self, number: u64) {
        let before = self.stages.insert(number, Stage::CarriedOut);
        assert_eq!(before, Some(Stage::UnderWay), "{number} is carried out");
    }

    /// It has refused a message of QoS 2, and says so if it can.
    pub(super) fn is_refused(&mut self, number: u64, drops: bool) {
        let before = match drops {
            true => self.stages.insert(number, Stage::Dropped),
            false => self.stages.remove(&number),
        };
        assert_eq!(before, Some(Stage::UnderWay), "{number} is refused");
    }

    /// It has ended without another word, and knows again what it `noted`. With the rest it begins
    /// again: nobody was told that it was taken.
    pub(super) fn is_restarted(&mut self, noted: impl Fn(u16) -> bool) {
        let known = self.going.iter();
        let known = known.filter(|(id, one)| one.released || noted(**id));
        let known: BTreeSet<u64> = known.map(|(_, one)| one.number).collect();
        self.stages.retain(|number, _| known.contains(number));
    }

    /// What the server gave up on after it was sent (expired, or too large for a later connection)
    /// is of no use here either. A limit of the server: identifiers begin again after a restart if
    /// it holds nothing, so until then the client must not wait for the end of these.
    pub(super) fn gives_up_beside(&mut self, held: &BTreeSet<u64>) {
        self.coming.retain(|_, one| held.contains(&one.number));
    }

    /// Whether the server has answered everything.
    pub(super) fn is_done(&self) -> bool {
        self.going.is_empty() && self.owes.is_empty()
    }
}

fn message(number: u64, id: u16, qos: u8, again: bool) -> Publish {
    Publish {
        topic: topic(number).into(),
        payload: Bytes::copy_from_slice(&number.to_be_bytes()),
        qos,
        again,
        id,
        ..Publish::default()
    }
}

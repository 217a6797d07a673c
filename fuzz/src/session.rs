//! A session over all its connections: a server as the listener drives it, a client that keeps to
//! the standard, and whatever may come between them. Everything that is asserted is what one of
//! the two may rely on.

mod client;
mod disk;
mod work;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use callway::dialect::mqtt::{
    Ack, Connect, Conversation, Effect, Message, Packet, Publish, RECEIVE_MAXIMUM, Room, Session,
    Version, packet,
};

use self::client::Client;
use self::disk::Disk;
use self::work::{Note, Work, Works};
use crate::choices::Choices;
use crate::reader;

/// So little that it is reached.
const ROOM: Room = Room {
    messages: 12,
    bytes: 4096,
};
/// The largest payload of a message for the client.
const LARGEST: usize = 1024;
/// Beside its payload.
const OVERHEAD: usize = 256;
/// Decisions of one input.
const MOST: usize = 4096;
/// Turns in which both sides have said what they have to say.
const TURNS: usize = 1000;

/// Plays what the bytes decide.
pub fn check(data: &[u8]) {
    if data.len() > MOST {
        return;
    }
    let mut choices = Choices::new(data);
    let version = choices.of([Version::V5, Version::V4]);
    let mut world = World {
        version,
        now: 1_000_000,
        session: Session::new(ROOM),
        disk: Disk::default(),
        works: Works::default(),
        connections: 0,
        line: None,
        client: Client::new(version),
        held: BTreeMap::new(),
        pushed: 0,
    };
    while !choices.is_empty() {
        world.step(&mut choices);
        world.is_bounded();
    }
    world.end();
}

/// A connection as the server has it.
struct Line {
    number: u64,
    conversation: Conversation,
    out: BytesMut,
}

struct World {
    version: Version,
    now: u64,
    session: Session,
    disk: Disk,
    works: Works,
    /// How many there were.
    connections: u64,
    line: Option<Line>,
    client: Client,
    /// The number and the bytes of the messages of QoS 1 and 2 that the server still has, by their
    /// `seq`.
    held: BTreeMap<u64, (u64, usize)>,
    pushed: u64,
}

impl World {
    fn step(&mut self, choices: &mut Choices<'_>) {
        match (choices.below(16), self.line.is_some()) {
            (0 | 1, _) => self.push(choices),
            (2, _) => self.now += u64::from(choices.byte()) * 100,
            (11, _) => self.settle(choices),
            (12, _) => self.note(true),
            (14, _) => self.look(choices),
            (15, _) => self.note(false),
            (3, true) => self.leave(choices.flag()),
            (3 | 4, false) => self.connect(choices),
            (5, false) => self.restart(),
            (_, false) => {}
            (4, true) => self.hear(),
            (5 | 6, true) => self.send(),
            (7 | 8, true) => drop(self.acknowledge(choices)),
            (9 | 10, true) => {
                let many = if choices.below(8) == 7 { 60 } else { 1 };
                for _ in 0..many {
                    let Some(publish) = self.client.publish(choices) else {
                        break;
                    };
                    self.take(Packet::Publish(publish));
                }
            }
            (_, true) => self.noise(choices),
        }
    }

    /// Whatever came before: once both sides say what they have to say, nothing is left undone.
    fn end(&mut self) {
        if self.line.is_some() {
            self.leave(true);
        }
        let mut quiet = Choices::new(&[]);
        self.connect(&mut quiet);
        for _ in 0..TURNS {
            self.finish_works();
            self.send();
            self.hear();
            while self.acknowledge(&mut quiet) {}
            if self.session.is_empty() && self.client.is_done() && self.works.is_empty() {
                assert!(self.held.is_empty(), "{:?} are kept for nobody", self.held);
                assert!(self.session.received.is_empty(), "an identifier is kept");
                return self.disk.is_left_empty();
            }
        }
        panic!("a client waits for ever");
    }

    /// Says whether the client had something to acknowledge.
    fn acknowledge(&mut self, choices: &mut Choices<'_>) -> bool {
        let owed = self.client.owed(choices);
        if let Some((ack, id, reason)) = owed {
            self.take(Packet::Ack(ack, id, reason));
        }
        owed.is_some()
    }

    /// An event for the client, as the listener takes it.
    fn push(&mut self, choices: &mut Choices<'_>) {
        let qos = choices.below(3) as u8;
        let lives = self.line.is_some() || qos > 0;
        if !lives || !self.session.has_room() {
            return;
        }
        self.pushed += 1;
        let padding = choices.below(LARGEST / 4) * 4;
        let mut payload = self.pushed.to_be_bytes().to_vec();
        payload.resize(payload.len() + padding, 0);
        let mut message = Message {
            topic: client::topic(self.pushed).into(),
            payload: Bytes::from(payload),
            qos,
            expires: (choices.below(4) == 0).then_some(self.now + 3000),
            stored: qos > 0,
            ..Message::default()
        };
        let size = message.payload.len();
        message.seq = self.session.push(message.clone());
        if qos > 0 {
            self.held.insert(message.seq, (self.pushed, size));
            let seq = message.seq;
            self.disk.keep(message);
            if qos == 2 {
                self.session.kept(seq);
            }
        }
    }

    fn connect(&mut self, choices: &mut Choices<'_>) {
        let connect = Connect {
            version: self.version,
            clean: false,
            keep_alive: 0,
            client: "a".into(),
            password: None,
            will: None,
            expiry: Some(60),
            receive_maximum: match self.version {
                Version::V5 => choices.of([1, 2, 5, u16::MAX]),
                Version::V4 => u16::MAX,
            },
            maximum_packet: match self.version {
                Version::V5 => choices.of([u32::MAX, 400]),
                Version::V4 => u32::MAX,
            },
            alias_maximum: match self.version {
                Version::V5 => choices.of([0, 2]),
                Version::V4 => 0,
            },
            wants_response_information: false,
            wants_authentication: false,
        };
        self.connections += 1;
        let mut line = Line {
            number: self.connections,
            conversation: Conversation::new(&connect),
            out: BytesMut::new(),
        };
        for id in self.session.resume() {
            line.conversation.release(id, &mut line.out);
        }
        self.line = Some(line);
        for packet in self.client.connected(&connect) {
            self.take(packet);
        }
    }

    /// The connection is lost, with what was written last or without it. What was begun on it goes
    /// on.
    fn leave(&mut self, hears: bool) {
        if hears {
            self.hear();
        }
        self.line = None;
        self.client.lost();
        self.session.drop_unkept();
    }

    fn take(&mut self, packet: Packet) {
        let Some(line) = &mut self.line else { return };
        if line.conversation.is_full() {
            return self.leave_unread(packet);
        }
        let mut effects = Vec::new();
        let acknowledged = match &packet {
            Packet::Ack(ack, id, reason) => Some((*ack, *id, *reason)),
            _ => None,
        };
        let (session, out) = (&mut self.session, &mut line.out);
        line.conversation.packet(packet, session, out, &mut effects);
        for effect in effects {
            self.apply(effect);
        }
        if let Some((ack, id, reason)) = acknowledged
            && let Some(done) = self.client.was_heard(ack, id, reason)
        {
            let kept = self.held.values().any(|(number, _)| *number == done);
            assert!(!kept, "{done} is kept after its acknowledgement");
        }
    }

    /// MQTT 3.1.1 has no limit to keep to: what is too much waits in the socket, until the
    /// connection is lost.
    fn leave_unread(&mut self, packet: Packet) {
        if let Packet::Publish(Publish { id, .. }) = packet {
            self.client.not_read(id);
        }
    }

    fn apply(&mut self, effect: Effect) {
        let Some(line) = &mut self.line else { return };
        match effect {
            Effect::Message(_, publish) if publish.qos == 0 => {}
            Effect::Message(ticket, publish) => {
                let number = self.client.is_begun(&publish);
                self.works.begin(Work {
                    connection: line.number,
                    ticket,
                    id: publish.id,
                    qos: publish.qos,
                    number,
                });
            }
            Effect::Await(ticket, id) => self.works.wait(line.number, ticket, id),
            Effect::Forget(seq) => {
                self.held.remove(&seq);
                self.disk.forget(seq);
            }
            Effect::Release(seq, id) => self.works.note(line.number, Note::Release(seq, id)),
            Effect::Complete(id) => self.works.note(line.number, Note::Complete(id)),
            Effect::Close(Some(reason)) => panic!("a client that does no wrong: {reason:?}"),
            effect => panic!("nothing that the client asked for: {effect:?}"),
        }
    }

    fn send(&mut self) {
        let Some(line) = &mut self.line else { return };
        let mut gone = Vec::new();
        let (session, out) = (&mut self.session, &mut line.out);
        line.conversation
            .send(session, self.now, 2048, out, |message| {
                gone.extend(message.stored.then_some(message.seq));
            });
        for seq in gone {
            self.held.remove(&seq);
            self.disk.forget(seq);
        }
    }

    /// The client reads what was written.
    fn hear(&mut self) {
        let Some(line) = &mut self.line else { return };
        let bytes = line.out.split();
        for said in reader::all(self.version, &bytes) {
            self.client.hears(said);
        }
    }

    /// Acknowledgements of what the client does not have, and pings.
    fn noise(&mut self, choices: &mut Choices<'_>) {
        self.hear();
        let ack = choices.of([Ack::Puback, Ack::Pubrec, Ack::Pubrel, Ack::Pubcomp]);
        let id = 1 + u16::from(choices.byte());
        let body = id.to_be_bytes();
        let head = (ack as u8) << 4 | u8::from(ack == Ack::Pubrel) << 1;
        if self.client.has(id) || choices.below(4) == 0 {
            return self.take(Packet::Ping);
        }
        match packet(self.version, head, &body) {
            Ok(packet) => self.take(packet),
            Err(reason) => panic!("an acknowledgement is one: {reason:?}"),
        }
        self.client.strays += u32::from(ack == Ack::Pubrec) + u32::from(ack == Ack::Pubrel);
    }

    /// Nothing grows beyond its bound, whatever the client leaves unanswered.
    fn is_bounded(&self) {
        let held: usize = self.held.values().map(|(_, size)| size).sum();
        let most = 2 * ROOM.bytes + 2 * (LARGEST + OVERHEAD);
        assert!(held <= most, "{held} bytes are held for one client");
        let received = self.session.received.len();
        assert!(received <= RECEIVE_MAXIMUM.into(), "{received} are open");
    }
}

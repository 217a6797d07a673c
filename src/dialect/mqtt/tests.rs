//! Conversations, packet by packet; and what no client would say.

use bytes::{Buf as _, BytesMut};
use proptest::prelude::*;

use super::conversation::LONGEST_ALIASED;
use super::*;

/// CONNECT, SUBSCRIBE, three PUBLISH, acknowledgements, PINGREQ, UNSUBSCRIBE, DISCONNECT.
const TALK: &[&[u8]] = &[
    b"\x10\x14\x00\x04MQTT\x05\xc2\x00\x3c\x03\x21\x00\x0a\x00\x00\x00\x00\x00\x00",
    b"\x82\x0a\x00\x01\x02\x0b\x07\x00\x02a/\x01",
    b"\x30\x06\x00\x01a\x00hi",
    b"\x32\x0b\x00\x01a\x00\x02\x03\x23\x00\x01hi",
    b"\x34\x13\x00\x01b\x00\x03\x0b\x26\x00\x01k\x00\x01v\x08\x00\x01rhi",
    b"\x40\x02\x00\x01",
    b"\x50\x02\x00\x01",
    b"\x62\x02\x00\x03",
    b"\x70\x04\x00\x01\x00\x00",
    b"\xc0\x00",
    b"\xa2\x07\x00\x05\x00\x00\x02a/",
    b"\xe0\x07\x00\x05\x11\x00\x00\x00\x05",
];

fn session() -> Session {
    Session::new(Room {
        messages: 100,
        bytes: 100_000,
    })
}

fn hello(version: Version) -> Connect {
    Connect {
        version,
        clean: true,
        keep_alive: 0,
        client: "a".into(),
        password: None,
        will: None,
        expiry: Some(60),
        receive_maximum: 10,
        maximum_packet: u32::MAX,
        alias_maximum: 0,
        wants_response_information: false,
        wants_authentication: false,
    }
}

/// One connection with what it wrote.
struct Side {
    conversation: Conversation,
    session: Session,
    out: BytesMut,
}

impl Side {
    fn new(version: Version) -> Side {
        Side {
            conversation: Conversation::new(&hello(version)),
            session: session(),
            out: BytesMut::new(),
        }
    }

    fn takes(&mut self, packet: Packet) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (session, out) = (&mut self.session, &mut self.out);
        self.conversation.packet(packet, session, out, &mut effects);
        effects
    }

    fn settle(&mut self, ticket: Ticket, outcome: Reason) {
        let (session, out) = (&mut self.session, &mut self.out);
        self.conversation.settle(ticket, outcome, session, out);
    }

    fn complete(&mut self, id: u16) {
        let (session, out) = (&mut self.session, &mut self.out);
        self.conversation.complete(id, session, out);
    }

    fn wrote(&mut self) -> Vec<u8> {
        self.out.split().to_vec()
    }
}

fn publish(id: u16, qos: u8) -> Packet {
    Packet::Publish(Publish {
        topic: "a".into(),
        qos,
        id,
        ..Publish::default()
    })
}

#[test]
fn acknowledgements_are_in_the_order_of_arrival() {
    let mut side = Side::new(Version::V5);
    for (id, qos) in [(7, 1), (8, 2), (9, 1)] {
        let effects = side.takes(publish(id, qos));
        assert!(matches!(effects[..], [Effect::Message(..)]));
    }
    side.settle(2, Reason::Success);
    side.settle(1, Reason::Success);
    assert_eq!(side.wrote(), b"", "the first one is not kept yet");
    side.settle(0, Reason::NotAuthorized);
    assert_eq!(
        side.wrote(),
        b"\x40\x03\x00\x07\x87\x50\x02\x00\x08\x40\x02\x00\x09"
    );
    assert!(side.conversation.is_idle());
}

#[test]
fn as_many_messages_are_open_as_were_announced() {
    for qos in [1, 2] {
        let mut side = Side::new(Version::V5);
        for id in 1..=RECEIVE_MAXIMUM {
            let effects = side.takes(publish(id, qos));
            assert!(matches!(effects[..], [Effect::Message(..)]), "{id}");
        }
        let effects = side.takes(publish(RECEIVE_MAXIMUM + 1, qos));
        let reason = Reason::ReceiveMaximumExceeded;
        assert!(matches!(effects[..], [Effect::Close(Some(why))] if why == reason));
        if qos == 2 {
            let received = &side.session.received;
            assert_eq!(received.is_settled(RECEIVE_MAXIMUM + 1), None, "not begun");
        }
    }
}

#[test]
fn a_message_of_qos_2_is_carried_out_once() {
    let mut side = Side::new(Version::V5);
    assert_eq!(side.takes(publish(8, 2)).len(), 1);
    assert!(side.takes(publish(8, 2)).is_empty(), "its PUBREC is due");
    assert_eq!(side.wrote(), b"");
    side.settle(0, Reason::Success);
    assert!(side.takes(publish(8, 2)).is_empty());
    assert_eq!(side.wrote(), b"\x50\x02\x00\x08\x50\x02\x00\x08");
    let effects = side.takes(Packet::Ack(Ack::Pubrel, 8, 0));
    assert!(matches!(effects[..], [Effect::Complete(8)]));
    assert_eq!(side.wrote(), b"", "before that is on disk");
    side.complete(8);
    side.takes(Packet::Ack(Ack::Pubrel, 8, 0));
    assert_eq!(side.wrote(), b"\x70\x02\x00\x08\x70\x03\x00\x08\x92");
    // One that was refused needs no release.
    side.takes(publish(9, 2));
    side.settle(1, Reason::NotAuthorized);
    assert_eq!(side.takes(publish(9, 2)).len(), 1);
}

#[test]
fn a_message_of_qos_2_that_an_earlier_connection_began_with_waits_for_its_outcome() {
    let mut side = Side::new(Version::V5);
    side.takes(publish(8, 2));
    // The connection is lost before anything is kept, and the client sends it again.
    side.conversation = Conversation::new(&hello(Version::V5));
    let effects = side.takes(publish(8, 2));
    assert!(matches!(effects[..], [Effect::Await(0, 8)]));
    assert_eq!(side.wrote(), b"", "it may still fail");
    side.settle(0, Reason::Success);
    assert_eq!(side.wrote(), b"\x50\x02\x00\x08");
}

#[test]
fn a_released_message_is_known_until_the_disk_has_forgotten_it() {
    let mut side = Side::new(Version::V5);
    side.takes(publish(8, 2));
    side.settle(0, Reason::Success);
    let released = || Packet::Ack(Ack::Pubrel, 8, 0);
    assert_eq!(side.takes(released()).len(), 1);
    assert!(side.takes(released()).is_empty(), "once is enough");
    // The disk fails, or the connection does, and the client releases it again.
    side.conversation = Conversation::new(&hello(Version::V5));
    side.wrote();
    let effects = side.takes(released());
    assert!(matches!(effects[..], [Effect::Complete(8)]), "{effects:?}");
    assert_eq!(side.wrote(), b"", "the identifier is not free yet");
    side.complete(8);
    assert_eq!(side.wrote(), b"\x70\x02\x00\x08");
    let effects = side.takes(publish(8, 2));
    assert!(matches!(effects[..], [Effect::Message(..)]), "a new one");
}

#[test]
fn nothing_is_released_before_its_pubrec() {
    let mut side = Side::new(Version::V5);
    for _ in 0..2 * RECEIVE_MAXIMUM {
        side.takes(publish(8, 2));
        assert!(side.takes(Packet::Ack(Ack::Pubrel, 8, 0)).is_empty());
        assert_eq!(side.wrote(), b"\x70\x03\x00\x08\x92");
    }
    side.settle(0, Reason::Success);
    assert_eq!(side.wrote(), b"\x50\x02\x00\x08", "it was taken once");
    assert!(side.conversation.is_idle());
}

#[test]
fn a_refused_message_of_qos_2_is_new_to_the_next_connection() {
    let mut side = Side::new(Version::V5);
    side.takes(publish(7, 1));
    side.takes(publish(8, 2));
    side.settle(1, Reason::QuotaExceeded);
    assert_eq!(side.wrote(), b"", "what came before it is not settled");
    side.conversation = Conversation::new(&hello(Version::V5));
    let effects = side.takes(publish(8, 2));
    assert!(matches!(effects[..], [Effect::Message(..)]));
}

#[test]
fn a_message_that_is_too_large_takes_no_other_one_along() {
    let connect = Connect {
        maximum_packet: 40,
        ..hello(Version::V5)
    };
    let mut side = Side::new(Version::V5);
    side.conversation = Conversation::new(&connect);
    for (qos, size) in [(1, 1), (0, 100)] {
        side.session.push(Message {
            topic: "a".into(),
            payload: vec![b'x'; size].into(),
            qos,
            ..Message::default()
        });
    }
    let (session, out) = (&mut side.session, &mut side.out);
    let mut gone = Vec::new();
    let tell = |message: &Message| gone.push(message.qos);
    side.conversation.send(session, 0, 1000, out, tell);
    assert_eq!(gone, [0]);
    assert_eq!(side.session.len(), 1, "the first one is not acknowledged");
    side.takes(Packet::Ack(Ack::Puback, 1, 0));
    assert!(side.session.is_empty());
}

#[test]
fn a_stored_message_is_released_once_that_is_noted() {
    let mut side = Side::new(Version::V5);
    side.session.push(Message {
        topic: "a".into(),
        qos: 2,
        stored: true,
        ..Message::default()
    });
    let (session, out) = (&mut side.session, &mut side.out);
    side.conversation.send(session, 0, 1000, out, |_| {});
    assert!(out.is_empty(), "it is not on disk yet");
    session.kept(0);
    side.conversation.send(session, 0, 1000, out, |_| {});
    assert_eq!(side.wrote(), b"\x34\x06\x00\x01a\x00\x01\x00");
    let effects = side.takes(Packet::Ack(Ack::Pubrec, 1, 0));
    assert!(matches!(effects[..], [Effect::Release(0, 1)]));
    assert_eq!(side.wrote(), b"");
    side.conversation.release(1, &mut side.out);
    assert_eq!(side.wrote(), b"\x62\x02\x00\x01");
    let effects = side.takes(Packet::Ack(Ack::Pubcomp, 1, 0));
    assert!(matches!(effects[..], [Effect::Forget(0)]));
}

#[test]
fn aliases_take_a_bounded_amount_of_memory() {
    let said = Connect {
        alias_maximum: u16::MAX,
        ..hello(Version::V5)
    };
    let mut side = Side::new(Version::V5);
    side.conversation = Conversation::new(&said);
    for number in 0..=ALIAS_MAXIMUM {
        side.session.push(Message {
            topic: format!("{number:02}").into(),
            ..Message::default()
        });
    }
    let (session, out) = (&mut side.session, &mut side.out);
    side.conversation.send(session, 0, 10_000, out, |_| {});
    let wrote = side.wrote();
    assert!(wrote.ends_with(b"\x30\x05\x00\x0232\x00"), "{wrote:?}");
    // The other way, a topic that long means nothing.
    let effects = side.takes(Packet::Publish(Publish {
        topic: "x".repeat(LONGEST_ALIASED + 1),
        alias: Some(1),
        ..Publish::default()
    }));
    let reason = Reason::TopicNameInvalid;
    assert!(matches!(effects[..], [Effect::Close(Some(why))] if why == reason));
}

#[test]
fn mqtt_3_has_no_reasons_and_no_properties() {
    let mut side = Side::new(Version::V4);
    side.takes(publish(7, 1));
    side.settle(0, Reason::NotAuthorized);
    assert_eq!(side.wrote(), b"\x40\x02\x00\x07");
    let mut out = BytesMut::new();
    encode::disconnect(Version::V4, Reason::ProtocolError, &mut out);
    encode::refusal(Version::V4, Reason::MalformedPacket, &mut out);
    assert!(out.is_empty());
    encode::suback(Version::V4, 7, &[1, Reason::NotAuthorized.code()], &mut out);
    assert_eq!(&out[..], b"\x90\x04\x00\x07\x01\x80");
}

/// Feeds bytes as a listener does: each packet is taken up or ends the connection.
fn feed(version: Version, bytes: &[u8]) {
    let mut side = Side::new(version);
    let mut input = BytesMut::from(bytes);
    let mut begun = false;
    while let Ok(Some(frame)) = frame(&input, 4096) {
        assert!(frame.end >= 2 && frame.end <= input.len(), "it moves on");
        let body = &input[frame.start..frame.end];
        if !begun {
            begun = true;
            if connect(frame.head, body).is_ok() {
                input.advance(frame.end);
                continue;
            }
        }
        let Ok(packet) = packet(version, frame.head, body) else {
            return;
        };
        for effect in side.takes(packet) {
            match effect {
                Effect::Message(ticket, _) => side.settle(ticket, Reason::Success),
                Effect::Complete(id) => side.complete(id),
                Effect::Close(_) | Effect::CloseWithWill => return,
                _ => {}
            }
        }
        input.advance(frame.end);
    }
    let received = side.session.received.len();
    assert!(
        received <= RECEIVE_MAXIMUM.into(),
        "what a client leaves open is bounded"
    );
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V4), Just(Version::V5)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes_end_in_a_reason(
        version in version(),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        feed(version, &bytes);
    }

    #[test]
    fn any_change_of_a_conversation_ends_in_a_reason(
        version in version(),
        order in proptest::collection::vec(0..TALK.len(), 1..20),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes: Vec<u8> = order.iter().flat_map(|index| TALK[*index]).copied().collect();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        feed(version, &bytes);
        bytes.truncate(cut.index(bytes.len()) + 1);
        feed(version, &bytes);
    }
}

#[test]
fn every_packet_of_a_conversation_is_read() {
    let first = frame(TALK[0], 100).unwrap().unwrap();
    let said = connect(first.head, &TALK[0][first.start..first.end]).unwrap();
    assert_eq!((said.version, said.receive_maximum), (Version::V5, 10));
    for bytes in &TALK[1..] {
        let frame = frame(bytes, 100).unwrap().unwrap();
        assert_eq!(frame.end, bytes.len(), "{bytes:x?}");
        let read = packet(Version::V5, frame.head, &bytes[frame.start..frame.end]);
        assert!(read.is_ok(), "{bytes:x?} {read:?}");
    }
}

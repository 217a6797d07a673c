//! What a session remembers, in which order, and how much of it.

use super::*;

fn session() -> Session {
    Session::new(Room {
        messages: 10,
        bytes: 10_000,
    })
}

fn message(qos: u8) -> Message {
    Message {
        topic: "a".into(),
        qos,
        ..Message::default()
    }
}

fn subscription(qos: u8, identifier: Option<u32>) -> Subscription {
    Subscription {
        qos,
        no_local: false,
        as_published: false,
        identifier,
    }
}

fn take(session: &mut Session, window: u16) -> Option<(u16, bool)> {
    let taken = session.take(window, 0, |_| {});
    taken.map(|(message, again)| (message.id(), again))
}

#[test]
fn overlapping_subscriptions_give_one_message_at_the_highest_qos() {
    let mut session = session();
    assert!(session.subscribe("a/#".into(), subscription(0, Some(1))));
    assert!(session.subscribe("a/+".into(), subscription(2, Some(2))));
    assert!(!session.subscribe("a/+".into(), subscription(1, Some(3))));
    let taken = session.takes("a/b", false).unwrap();
    assert_eq!((taken.qos, taken.identifiers), (1, vec![1, 3]));
    assert_eq!(session.takes("b", false), None);
    assert!(session.unsubscribe("a/+") && !session.unsubscribe("a/+"));
    assert_eq!(session.takes("a/b", false).unwrap().qos, 0);
}

#[test]
fn no_local_keeps_own_messages_away() {
    let mut session = session();
    let no_local = Subscription {
        no_local: true,
        ..subscription(1, None)
    };
    session.subscribe("a".into(), no_local);
    assert!(session.takes("a", true).is_none() && session.takes("a", false).is_some());
}

#[test]
fn who_acknowledges_nothing_holds_a_bounded_number_of_bytes() {
    let mut session = session();
    let large = || Message {
        payload: vec![b'x'; 2000].into(),
        ..message(1)
    };
    for _ in 0..4 {
        session.push(large());
        assert!(take(&mut session, u16::MAX).is_some());
    }
    session.push(large());
    assert_eq!(
        take(&mut session, u16::MAX),
        None,
        "10,000 bytes are less than five"
    );
    assert_eq!(
        session.acknowledge(Ack::Puback, 1, false),
        Settled::Done(None)
    );
    assert_eq!(take(&mut session, u16::MAX), Some((5, false)));
    // One that is larger than all the room goes alone, or it would never go.
    let mut session = self::session();
    session.push(Message {
        payload: vec![b'x'; 20_000].into(),
        ..message(1)
    });
    assert!(take(&mut session, u16::MAX).is_some());
}

#[test]
fn the_window_bounds_what_is_unacknowledged() {
    let mut session = session();
    for qos in [1, 2, 0, 1] {
        session.push(message(qos));
    }
    assert_eq!(take(&mut session, 2), Some((1, false)));
    assert_eq!(take(&mut session, 2), Some((2, false)));
    assert_eq!(
        take(&mut session, 2),
        Some((0, false)),
        "QoS 0 is not counted"
    );
    assert_eq!(take(&mut session, 2), None);
    assert_eq!(
        session.acknowledge(Ack::Pubcomp, 1, false),
        Settled::Unknown
    );
    assert_eq!(
        session.acknowledge(Ack::Puback, 1, false),
        Settled::Done(None)
    );
    assert_eq!(session.acknowledge(Ack::Puback, 1, false), Settled::Unknown);
    assert_eq!(take(&mut session, 2), Some((3, false)));
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order() {
    let mut session = session();
    for qos in [1, 2, 2, 0, 1] {
        session.push(message(qos));
    }
    for _ in 0..3 {
        take(&mut session, 9).unwrap();
    }
    let released = session.acknowledge(Ack::Pubrec, 2, false);
    assert_eq!(released, Settled::Release(None));
    assert_eq!(session.resume(), [2]);
    assert_eq!(take(&mut session, 9), Some((1, true)));
    assert_eq!(take(&mut session, 9), Some((3, true)));
    assert_eq!(take(&mut session, 9), Some((4, false)), "QoS 0 is gone");
    assert_eq!(
        session.acknowledge(Ack::Pubcomp, 2, false),
        Settled::Done(None)
    );
}

#[test]
fn a_refused_message_is_done_with() {
    let mut session = session();
    session.push(message(2));
    take(&mut session, 9).unwrap();
    assert_eq!(
        session.acknowledge(Ack::Pubrec, 1, true),
        Settled::Done(None)
    );
    assert!(session.is_empty());
}

#[test]
fn expired_messages_are_left_out() {
    let mut session = session();
    session.push(Message {
        expires: Some(5),
        ..message(1)
    });
    session.push(message(1));
    let mut gone = Vec::new();
    let taken = session
        .take(9, 5, |message| gone.push(message.seq))
        .unwrap();
    assert_eq!((gone, taken.0.seq), (vec![0], 1));
}

#[test]
fn the_room_is_bounded_in_messages_and_bytes() {
    let mut session = session();
    for _ in 0..10 {
        assert!(session.has_room());
        session.push(message(1));
    }
    assert!(!session.has_room());
    let mut session = self::session();
    session.push(Message {
        payload: Bytes::from(vec![0; 20_000]),
        ..message(1)
    });
    assert!(!session.has_room());
    take(&mut session, 9).unwrap();
    assert!(session.has_room());
    // What is said beside the payload takes room as well.
    let user = vec![(String::new(), String::new()); 1000];
    session.push(Message {
        beside: Some(Arc::new(Beside {
            user,
            ..Beside::default()
        })),
        ..message(1)
    });
    assert!(!session.has_room());
}

#[test]
fn no_more_is_under_way_than_may_wait() {
    let mut session = session();
    for _ in 0..10 {
        session.push(message(1));
    }
    for _ in 0..10 {
        take(&mut session, u16::MAX).unwrap();
    }
    session.push(message(1));
    assert_eq!(
        take(&mut session, u16::MAX),
        None,
        "nothing was acknowledged"
    );
    session.acknowledge(Ack::Puback, 1, false);
    assert_eq!(take(&mut session, u16::MAX), Some((11, false)));
    // Nor of more bytes; but one larger than all the room goes alone.
    let mut session = self::session();
    for _ in 0..2 {
        session.push(Message {
            payload: Bytes::from(vec![0; 20_000]),
            ..message(1)
        });
    }
    assert_eq!(take(&mut session, u16::MAX), Some((1, false)));
    assert_eq!(take(&mut session, u16::MAX), None);
    session.resume();
    assert_eq!(take(&mut session, u16::MAX), Some((1, true)));
    session.acknowledge(Ack::Puback, 1, false);
    assert_eq!(take(&mut session, u16::MAX), Some((2, false)));
}

#[test]
fn giving_up_on_a_message_of_qos_0_leaves_the_others_alone() {
    let mut session = session();
    session.push(message(1));
    session.push(message(0));
    let (first, _) = session.take(9, 0, |_| {}).unwrap();
    let (second, _) = session.take(9, 0, |_| {}).unwrap();
    session.give_up(&second);
    assert_eq!(session.len(), 1, "the first one is still under way");
    session.give_up(&first);
    assert!(session.is_empty());
}

#[test]
fn no_packet_identifier_is_used_twice_at_once() {
    let mut session = Session::new(Room {
        messages: usize::MAX,
        bytes: usize::MAX,
    });
    session.push(message(1));
    take(&mut session, u16::MAX).unwrap();
    for _ in 0..IDS {
        session.push(message(1));
    }
    for _ in 1..IDS {
        let (id, _) = take(&mut session, u16::MAX).unwrap();
        assert_eq!(
            session.acknowledge(Ack::Puback, id, false),
            Settled::Done(None)
        );
    }
    assert_eq!(take(&mut session, u16::MAX), None, "its id is still taken");
    session.acknowledge(Ack::Puback, 1, false);
    assert_eq!(take(&mut session, u16::MAX), Some((1, false)));
}

fn stored(qos: u8) -> Message {
    Message {
        stored: true,
        ..message(qos)
    }
}

#[test]
fn a_message_of_qos_2_waits_for_the_disk_and_the_others_behind_it() {
    let mut session = session();
    assert_eq!(session.push(stored(1)), 0);
    assert_eq!(session.push(stored(2)), 1);
    session.push(message(0));
    assert_eq!(session.push(stored(2)), 2);
    assert_eq!(session.push(stored(1)), 3);
    assert_eq!(take(&mut session, 9), Some((1, false)), "QoS 1 need not");
    assert_eq!(take(&mut session, 9), None);
    // Nor does it go with the next connection.
    session.resume();
    assert_eq!(take(&mut session, 9), Some((1, true)));
    assert_eq!(take(&mut session, 9), None);
    session.push(message(0));
    session.kept(1);
    assert_eq!(take(&mut session, 9), Some((2, false)));
    assert_eq!(take(&mut session, 9), None);
    session.kept(2);
    assert_eq!(take(&mut session, 9), Some((3, false)));
    assert_eq!(take(&mut session, 9), Some((4, false)));
    assert_eq!(take(&mut session, 9), Some((0, false)));
    // What was on disk already when this process began may go at once.
    session.restore(
        Message {
            seq: 7,
            ..stored(2)
        },
        false,
    );
    assert_eq!(take(&mut session, 9), Some((8, true)));
}

#[test]
fn what_the_disk_cannot_keep_holds_nothing_up() {
    let mut session = session();
    session.push(message(0));
    let first = session.push(stored(2));
    let second = session.push(stored(2));
    session.push(message(1));
    assert!(session.unkept(first) && !session.unkept(first));
    assert_eq!(take(&mut session, 9), Some((0, false)), "not taken for it");
    assert_eq!(take(&mut session, 9), None, "the second may yet be kept");
    assert!(session.unkept(second));
    assert_eq!(take(&mut session, 9), Some((3, false)));
    assert_eq!(take(&mut session, 9), None);
    assert!(session.has_room() && session.bytes == 0);
}

#[test]
fn one_that_expires_before_it_is_on_disk_is_left_out() {
    let mut session = session();
    let expires = Some(5);
    session.push(Message {
        expires,
        ..stored(2)
    });
    session.push(message(1));
    assert!(session.take(9, 4, |_| {}).is_none());
    let mut gone = Vec::new();
    let taken = session.take(9, 5, |message| gone.push(message.seq));
    assert_eq!((gone, taken.unwrap().0.seq), (vec![0], 1));
    session.kept(0);
    assert!(session.take(9, 5, |_| {}).is_none());
}

#[test]
fn a_message_of_an_earlier_process_keeps_its_identifier() {
    let mut session = session();
    let kept = |seq| Message {
        seq,
        stored: true,
        ..message(2)
    };
    session.restore(kept(5), false);
    session.restore(kept(7), true);
    session.restore(kept(9), false);
    assert_eq!(session.resume(), [8]);
    assert_eq!(take(&mut session, 9), Some((6, true)));
    assert_eq!(take(&mut session, 9), Some((10, true)));
    assert_eq!(session.push(message(1)), 10);
    assert_eq!(
        session.acknowledge(Ack::Pubcomp, 8, false),
        Settled::Done(Some(7))
    );
}

//! What takes its time, and goes on when the connection that began it is gone, as in the listener:
//! a message is carried out or refused, then noted on disk, and only then is the client told.

use std::collections::VecDeque;

use callway::dialect::mqtt::{Reason, Session, Ticket, Version};

use super::{Line, ROOM, World};
use crate::choices::Choices;

/// A message of QoS 1 or 2 of the client whose outcome is not known yet.
#[derive(Clone, Copy)]
pub(super) struct Work {
    pub(super) connection: u64,
    pub(super) ticket: Ticket,
    pub(super) id: u16,
    pub(super) qos: u8,
    pub(super) number: u64,
}

/// What is to be on disk before the client is told.
#[derive(Clone, Copy)]
pub(super) enum Note {
    /// A message of the client was carried out.
    Receive(Ticket, u16),
    /// The client has a message for it.
    Release(u64, u16),
    /// The client has released one of its own.
    Complete(u16),
}

#[derive(Default)]
pub(super) struct Works {
    open: Vec<Work>,
    /// Those that wait for what an earlier connection began with: connection, ticket, identifier.
    waiting: Vec<(u64, Ticket, u16)>,
    /// In the order in which they get to the disk, each with its connection.
    notes: VecDeque<(u64, Note)>,
}

impl Works {
    pub(super) fn begin(&mut self, work: Work) {
        self.open.push(work);
    }

    pub(super) fn wait(&mut self, connection: u64, ticket: Ticket, id: u16) {
        self.waiting.push((connection, ticket, id));
    }

    pub(super) fn note(&mut self, connection: u64, note: Note) {
        self.notes.push_back((connection, note));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.waiting.is_empty() && self.notes.is_empty()
    }
}

impl World {
    /// One outcome, in any order.
    pub(super) fn settle(&mut self, choices: &mut Choices<'_>) {
        if self.works.open.is_empty() {
            return;
        }
        let at = choices.below(self.works.open.len());
        let work = self.works.open.remove(at);
        self.settled(
            work,
            match choices.below(8) {
                0 | 4 => Reason::NotAuthorized,
                5 => Reason::ServerUnavailable,
                _ => Reason::Success,
            },
        );
    }

    fn settled(&mut self, work: Work, outcome: Reason) {
        let Work { connection, id, .. } = work;
        if work.qos == 2 && outcome == Reason::Success {
            self.client.is_carried_out(work.number);
            self.session.received.settle(id);
            return self.works.note(connection, Note::Receive(work.ticket, id));
        }
        if work.qos == 2 {
            let heard = self.line(connection).is_some();
            let for_good = outcome == Reason::NotAuthorized;
            let drops = heard && for_good && self.version == Version::V4;
            self.client.is_refused(work.number, drops);
        }
        self.tell(work.connection, work.ticket, (work.qos, id), outcome);
    }

    /// A message of the client is kept, or refused.
    fn tell(&mut self, number: u64, ticket: Ticket, (qos, id): (u8, u16), outcome: Reason) {
        let version = self.version;
        let (line, session) = (&mut self.line, &mut self.session);
        let Some(line) = line.as_mut().filter(|line| line.number == number) else {
            // The client sends it again, and is to find it as it ended.
            if qos == 2 && outcome.is_failure() {
                session.received.forget(id);
            }
            return;
        };
        let outcome = match (version, outcome) {
            // MQTT 3.1.1 cannot say no: the client is to send it again.
            (Version::V4, Reason::ServerUnavailable) => {
                if qos == 2 {
                    session.received.forget(id);
                }
                return self.leave(true);
            }
            (Version::V4, _) => Reason::Success,
            (Version::V5, outcome) => outcome,
        };
        let out = &mut line.out;
        line.conversation.settle(ticket, outcome, session, out);
    }

    /// One of those that wait looks whether it need not.
    pub(super) fn look(&mut self, choices: &mut Choices<'_>) {
        if !self.works.waiting.is_empty() {
            let at = choices.below(self.works.waiting.len());
            self.look_at(at);
        }
    }

    fn look_at(&mut self, at: usize) {
        let (connection, ticket, id) = self.works.waiting[at];
        let outcome = match self.session.received.is_settled(id) {
            Some(false) => return,
            Some(true) => Reason::Success,
            None => Reason::ServerUnavailable,
        };
        self.works.waiting.remove(at);
        self.tell(connection, ticket, (2, id), outcome);
    }

    /// The oldest note gets to the disk, or fails to.
    pub(super) fn note(&mut self, is_kept: bool) {
        let Some((connection, note)) = self.works.notes.pop_front() else {
            return;
        };
        match note {
            Note::Receive(ticket, id) => {
                if is_kept {
                    self.disk.receive(id);
                }
                self.tell(connection, ticket, (2, id), Reason::Success);
            }
            Note::Release(seq, id) => {
                if is_kept {
                    self.disk.release(seq);
                }
                if let Some(line) = self.line(connection) {
                    line.conversation.release(id, &mut line.out);
                }
            }
            Note::Complete(id) if is_kept => {
                self.disk.complete(id);
                let session = &mut self.session;
                let line = self.line.as_mut();
                if let Some(line) = line.filter(|line| line.number == connection) {
                    line.conversation.complete(id, session, &mut line.out);
                }
            }
            // The client releases it again when it is back.
            Note::Complete(_) if self.line(connection).is_some() => self.leave(true),
            Note::Complete(_) => {}
        }
    }

    /// Everything succeeds.
    pub(super) fn finish_works(&mut self) {
        while let Some(work) = self.works.open.pop() {
            self.settled(work, Reason::Success);
        }
        while !self.works.notes.is_empty() {
            self.note(true);
        }
        for at in (0..self.works.waiting.len()).rev() {
            self.look_at(at);
        }
    }

    /// callway ends without another word, and starts again.
    pub(super) fn restart(&mut self) {
        self.works = Works::default();
        self.client.is_restarted(|id| self.disk.has_received(id));
        let held = self.held.values();
        let held = held.map(|(number, _)| *number).collect();
        self.client.gives_up_beside(&held);
        self.session = Session::new(ROOM);
        self.disk.restore(&mut self.session);
    }

    /// The connection, if it is still there.
    fn line(&mut self, number: u64) -> Option<&mut Line> {
        self.line.as_mut().filter(|line| line.number == number)
    }
}

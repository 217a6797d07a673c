//! One connection: what comes in, in which order it is acknowledged, and what goes out within the
//! limits of both sides. It has no clock and no socket.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;

use super::Reason;
use super::encode::{self, Outgoing};
use super::packet::{Ack, Connect, Packet, Publish, Version, Wish};
use super::session::{Arrival, Message, Session, Settled};

/// Unacknowledged messages that are taken at once (§3.2.2.3.3).
pub const RECEIVE_MAXIMUM: u16 = 256;
/// Topic aliases that a client may use, and that are used towards it.
pub const ALIAS_MAXIMUM: u16 = 32;
/// Bytes of a topic that an alias may stand for: nothing that means anything is longer.
pub(super) const LONGEST_ALIASED: usize = 2048;

/// Names a message of the client within its connection.
pub type Ticket = u64;

/// What has to be done for a client.
#[derive(Debug)]
pub enum Effect {
    /// Carry out a message; then [`Conversation::settle`], unless it has QoS 0.
    Message(Ticket, Publish),
    /// A message that an earlier connection of the session began with: wait for what comes of it
    /// there, then [`Conversation::settle`].
    Await(Ticket, u16),
    /// Subscribe, and answer with a SUBACK.
    Subscribe(u16, Option<u32>, Vec<Wish>),
    /// Unsubscribe, and answer with an UNSUBACK.
    Unsubscribe(u16, Vec<String>),
    /// A message on disk was acknowledged.
    Forget(u64),
    /// Note on disk that a message is released, then [`Conversation::release`] it.
    Release(u64, u16),
    /// The client released a message of QoS 2: forget it on disk, then
    /// [`Conversation::complete`].
    Complete(u16),
    /// Close the connection; `None` if the client said goodbye, and its will is to be forgotten.
    Close(Option<Reason>),
    /// The client said goodbye but wants its will published.
    CloseWithWill,
    /// The session is to end so many seconds after the connection.
    Expiry(u32),
}

/// A message of the client whose acknowledgement is due.
#[derive(Debug)]
struct Due {
    id: u16,
    qos: u8,
    outcome: Option<Reason>,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Conversation {
    version: Version,
    /// Of the client.
    receive_maximum: u16,
    maximum_packet: usize,
    alias_maximum: u16,
    /// What the client's aliases stand for.
    aliases_in: Vec<Option<String>>,
    aliases_out: HashMap<Arc<str>, u16>,
    /// In the order of arrival: acknowledgements are in order (§4.6).
    due: VecDeque<Due>,
    /// The ticket of the first of them.
    first: Ticket,
    /// Messages of QoS 2 of the client that it released, which is not on disk yet.
    completing: BTreeSet<u16>,
    /// The session was to expire with its connection, which no DISCONNECT may change.
    ends: bool,
}

impl Conversation {
    /// After the CONNECT.
    pub fn new(connect: &Connect) -> Conversation {
        Conversation {
            version: connect.version,
            receive_maximum: connect.receive_maximum,
            maximum_packet: connect.maximum_packet as usize,
            // More than it may have itself would only fill the memory.
            alias_maximum: connect.alias_maximum.min(ALIAS_MAXIMUM),
            aliases_in: Vec::new(),
            aliases_out: HashMap::new(),
            due: VecDeque::new(),
            first: 0,
            completing: BTreeSet::new(),
            ends: connect.version == Version::V5 && connect.expiry.unwrap_or(0) == 0,
        }
    }

    /// Which MQTT is spoken.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether so much is under way that no more should be read.
    pub fn is_full(&self) -> bool {
        self.version == Version::V4 && self.due.len() >= RECEIVE_MAXIMUM.into()
    }

    /// Whether nothing of the client waits for its acknowledgement.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty()
    }

    /// Takes up a packet.
    pub fn packet(
        &mut self,
        packet: Packet,
        session: &mut Session,
        out: &mut BytesMut,
        effects: &mut Vec<Effect>,
    ) {
        let close = |reason| Effect::Close(Some(reason));
        match packet {
            Packet::Publish(publish) => {
                if let Err(reason) = self.message(publish, session, out, effects) {
                    effects.push(close(reason));
                }
            }
            Packet::Ack(Ack::Pubrel, id, _) => {
                // Nothing is released before its PUBREC.
                if session.received.is_settled(id) == Some(true) && !self.is_due(id) {
                    // The session knows it until the disk has forgotten it: a connection that is
                    // lost before is followed by one that releases it again.
                    if self.completing.insert(id) {
                        effects.push(Effect::Complete(id));
                    }
                    return;
                }
                let reason = Reason::PacketIdentifierNotFound;
                encode::ack(self.version, Ack::Pubcomp, id, reason, out);
            }
            Packet::Ack(ack, id, reason) => {
                self.acknowledged(ack, id, reason >= 0x80, session, out, effects);
            }
            Packet::Subscribe {
                id,
                identifier,
                filters,
            } => effects.push(Effect::Subscribe(id, identifier, filters)),
            Packet::Unsubscribe { id, filters } => effects.push(Effect::Unsubscribe(id, filters)),
            Packet::Ping => encode::pong(out),
            Packet::Disconnect { reason, expiry } => {
                match expiry {
                    // §3.14.2.2.2
                    Some(1..) if self.ends => return effects.push(close(Reason::ProtocolError)),
                    Some(expiry) => effects.push(Effect::Expiry(expiry)),
                    None => {}
                }
                effects.push(match reason {
                    0 => Effect::Close(None),
                    _ => Effect::CloseWithWill,
                });
            }
            Packet::Connect(_) | Packet::Auth => effects.push(close(Reason::ProtocolError)),
        }
    }

    fn message(
        &mut self,
        mut publish: Publish,
        session: &mut Session,
        out: &mut BytesMut,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Reason> {
        self.resolve(&mut publish)?;
        if publish.qos == 0 {
            effects.push(Effect::Message(0, publish));
            return Ok(());
        }
        let (id, qos) = (publish.id, publish.qos);
        let arrival = match qos {
            2 => session.received.arrive(id),
            _ => Arrival::First,
        };
        if arrival != Arrival::First && self.is_due(id) {
            return Ok(()); // its PUBREC is still to come
        }
        if arrival == Arrival::Again {
            // Its PUBREC was lost.
            encode::ack(self.version, Ack::Pubrec, id, Reason::Success, out);
            return Ok(());
        }
        // Those of QoS 2 count until they are released; this one is among them already.
        let of_qos_2 = session.received.len();
        let of_qos_1 = self.due.iter().filter(|due| due.qos == 1).count() + usize::from(qos == 1);
        if self.version == Version::V5 && of_qos_1 + of_qos_2 > RECEIVE_MAXIMUM.into() {
            // Nobody will say what comes of it.
            if qos == 2 && arrival == Arrival::First {
                session.received.forget(id);
            }
            return Err(Reason::ReceiveMaximumExceeded);
        }
        let outcome = None;
        self.due.push_back(Due { id, qos, outcome });
        let ticket = self.first + self.due.len() as u64 - 1;
        effects.push(match arrival {
            Arrival::First => Effect::Message(ticket, publish),
            _ => Effect::Await(ticket, id),
        });
        Ok(())
    }

    /// Whether the PUBREC of a message is still to come.
    fn is_due(&self, id: u16) -> bool {
        self.due.iter().any(|due| due.id == id && due.qos == 2)
    }

    /// Puts the topic where an alias stands for it (§3.3.2.3.4).
    fn resolve(&mut self, publish: &mut Publish) -> Result<(), Reason> {
        let Some(alias) = publish.alias else {
            return Ok(());
        };
        if alias > ALIAS_MAXIMUM {
            return Err(Reason::TopicAliasInvalid);
        }
        if publish.topic.len() > LONGEST_ALIASED {
            return Err(Reason::TopicNameInvalid);
        }
        let index = usize::from(alias) - 1;
        if self.aliases_in.len() <= index {
            self.aliases_in.resize(index + 1, None);
        }
        match (&mut self.aliases_in[index], publish.topic.is_empty()) {
            (Some(known), true) => publish.topic.clone_from(known),
            (None, true) => return Err(Reason::ProtocolError),
            (known, false) => *known = Some(publish.topic.clone()),
        }
        Ok(())
    }

    /// What became of a message of the client. Acknowledgements that may go now are written.
    pub fn settle(
        &mut self,
        ticket: Ticket,
        outcome: Reason,
        session: &mut Session,
        out: &mut BytesMut,
    ) {
        let index = ticket.checked_sub(self.first).map(|index| index as usize);
        if let Some(due) = index.and_then(|index| self.due.get_mut(index)) {
            due.outcome = Some(outcome);
            // At once: this connection may be gone before its turn comes.
            match due.qos {
                2 if outcome.is_failure() && self.version == Version::V5 => {
                    session.received.forget(due.id);
                }
                2 => session.received.settle(due.id),
                _ => {}
            }
        }
        while let Some(Due {
            id,
            qos,
            outcome: Some(outcome),
        }) = self.due.front()
        {
            let ack = if *qos == 2 { Ack::Pubrec } else { Ack::Puback };
            encode::ack(self.version, ack, *id, *outcome, out);
            self.due.pop_front();
            self.first += 1;
        }
    }

    fn acknowledged(
        &mut self,
        ack: Ack,
        id: u16,
        refused: bool,
        session: &mut Session,
        out: &mut BytesMut,
        effects: &mut Vec<Effect>,
    ) {
        match session.acknowledge(ack, id, refused) {
            Settled::Done(stored) => effects.extend(stored.map(Effect::Forget)),
            Settled::Release(Some(seq)) => effects.push(Effect::Release(seq, id)),
            Settled::Release(None) => self.release(id, out),
            Settled::Unknown if ack == Ack::Pubrec && !refused => {
                let reason = Reason::PacketIdentifierNotFound;
                encode::ack(self.version, Ack::Pubrel, id, reason, out);
            }
            // Late, or the second one.
            Settled::Unknown => {}
        }
    }

    /// Ends what began with a message of QoS 2 of the client.
    pub fn complete(&mut self, id: u16, session: &mut Session, out: &mut BytesMut) {
        if self.completing.remove(&id) {
            session.received.forget(id);
        }
        encode::ack(self.version, Ack::Pubcomp, id, Reason::Success, out);
    }

    /// Releases a message of QoS 2 that the client has received.
    pub fn release(&self, id: u16, out: &mut BytesMut) {
        encode::ack(self.version, Ack::Pubrel, id, Reason::Success, out);
    }

    /// Writes messages that wait, until there are `enough` bytes or the client takes no more.
    /// `gone` is told of those that never will be sent: expired, or larger than the client takes.
    pub fn send(
        &mut self,
        session: &mut Session,
        now: u64,
        enough: usize,
        out: &mut BytesMut,
        mut gone: impl FnMut(&Message),
    ) {
        while out.len() < enough
            && let Some((message, again)) = session.take(self.receive_maximum, now, &mut gone)
        {
            if !self.write(&message, again, now, out) {
                session.give_up(&message);
                gone(&message);
            }
        }
    }

    fn write(&mut self, message: &Message, again: bool, now: u64, out: &mut BytesMut) -> bool {
        let known = self.aliases_out.get(&message.topic).copied();
        let fresh = (known.is_none() && self.aliases_out.len() < self.alias_maximum.into())
            .then(|| self.aliases_out.len() as u16 + 1);
        let left = |expires: u64| {
            let left = expires.saturating_sub(now).div_ceil(1000);
            u32::try_from(left).unwrap_or(u32::MAX)
        };
        let outgoing = Outgoing {
            topic: if known.is_some() { "" } else { &message.topic },
            alias: known.or(fresh),
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            again,
            id: message.id(),
            expiry: message.expires.map(left),
            identifiers: &message.identifiers,
            beside: message.beside.as_deref(),
        };
        let written = encode::publish(self.version, &outgoing, self.maximum_packet, out);
        if let Some(alias) = fresh.filter(|_| written) {
            self.aliases_out.insert(message.topic.clone(), alias);
        }
        written
    }
}

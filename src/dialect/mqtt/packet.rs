//! Packets, the same for MQTT 5 and 3.1.1: what one of them does not have is empty there.

use bytes::Bytes;

use crate::auth::Secret;
use crate::channel::Beside;

/// Which MQTT a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, whose protocol level is 4.
    V4,
    /// MQTT 5.0.
    V5,
}

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet {
    /// The first packet, and only the first.
    Connect(Box<Connect>),
    /// A message.
    Publish(Publish),
    /// One of the four acknowledgements of messages.
    Ack(Ack, u16, u8),
    /// What it wants to hear of.
    Subscribe {
        /// Comes back in the SUBACK.
        id: u16,
        /// Subscription Identifier.
        identifier: Option<u32>,
        /// At least one.
        filters: Vec<Wish>,
    },
    /// What it wants to hear of no more.
    Unsubscribe {
        /// Comes back in the UNSUBACK.
        id: u16,
        /// At least one.
        filters: Vec<String>,
    },
    /// It is alive.
    Ping,
    /// It says goodbye.
    Disconnect {
        /// 0 unless it says so.
        reason: u8,
        /// Another Session Expiry Interval than it said first.
        expiry: Option<u32>,
    },
    /// Enhanced authentication, of which callway has none.
    Auth,
}

/// The acknowledgements of messages, by their type on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the standard's own names
#[repr(u8)]
pub enum Ack {
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
}

/// CONNECT (§3.1).
#[derive(Debug, PartialEq, Eq)]
pub struct Connect {
    /// What is spoken from now on.
    pub version: Version,
    /// Clean Start, or Clean Session.
    pub clean: bool,
    /// Seconds between two packets at most; 0 for no bound.
    pub keep_alive: u16,
    /// May be empty: then the server chooses.
    pub client: String,
    /// The credential.
    pub password: Option<Secret>,
    /// What is published if the connection is lost.
    pub will: Option<Will>,
    /// Session Expiry Interval in seconds; `None` if it was not said.
    pub expiry: Option<u32>,
    /// How many unacknowledged messages it takes at once.
    pub receive_maximum: u16,
    /// The largest packet that it takes.
    pub maximum_packet: u32,
    /// The highest topic alias that it takes.
    pub alias_maximum: u16,
    /// It wants to hear where replies may go.
    pub wants_response_information: bool,
    /// It wants enhanced authentication.
    pub wants_authentication: bool,
}

/// What is published in a client's name when its connection is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// The message.
    pub message: Publish,
    /// Will Delay Interval in seconds.
    pub delay: u32,
}

/// PUBLISH from a client (§3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// Empty where an alias stands for it.
    pub topic: String,
    /// In memory of its own.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// It is to be the last event of its channel.
    pub retain: bool,
    /// It was sent before.
    pub again: bool,
    /// The packet identifier; 0 at QoS 0.
    pub id: u16,
    /// Topic Alias.
    pub alias: Option<u16>,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// Whatever else was said; boxed, because most messages say nothing.
    pub beside: Option<Box<Beside>>,
}

/// One filter of a SUBSCRIBE with its options (§3.8.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The topic filter.
    pub filter: String,
    /// The highest QoS that is wanted.
    pub qos: u8,
    /// Not what this client published itself.
    pub no_local: bool,
    /// The retain flag as it was published.
    pub as_published: bool,
    /// 0: last events now; 1: only if the subscription is new; 2: none.
    pub handling: u8,
}

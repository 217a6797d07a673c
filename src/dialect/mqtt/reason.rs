//! Reason codes (MQTT 5.0 §2.4), and what they are on MQTT 3.1.1.

use crate::call::{Fault, Kind};

/// Why something was done, refused or ended. Only those that callway says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the standard's own names
#[repr(u8)]
pub enum Reason {
    Success = 0x00,
    NoSubscriptionExisted = 0x11,
    UnspecifiedError = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecificError = 0x83,
    UnsupportedProtocolVersion = 0x84,
    ClientIdentifierNotValid = 0x85,
    BadUserNameOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    ServerShuttingDown = 0x8b,
    BadAuthenticationMethod = 0x8c,
    KeepAliveTimeout = 0x8d,
    SessionTakenOver = 0x8e,
    TopicFilterInvalid = 0x8f,
    TopicNameInvalid = 0x90,
    PacketIdentifierNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    SharedSubscriptionsNotSupported = 0x9e,
    ConnectionRateExceeded = 0x9f,
}

impl Reason {
    /// On the wire of MQTT 5.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether it says that something failed.
    pub fn is_failure(self) -> bool {
        self.code() >= 0x80
    }

    /// The return code of a CONNACK of MQTT 3.1.1 (§3.2.2.3 there); `None` where that standard has
    /// the connection closed without a word.
    pub fn return_code(self) -> Option<u8> {
        match self {
            Reason::Success => Some(0),
            Reason::UnsupportedProtocolVersion => Some(1),
            Reason::ClientIdentifierNotValid => Some(2),
            Reason::BadUserNameOrPassword => Some(4),
            Reason::NotAuthorized => Some(5),
            Reason::ServerUnavailable
            | Reason::ServerBusy
            | Reason::ServerShuttingDown
            | Reason::QuotaExceeded
            | Reason::ConnectionRateExceeded => Some(3),
            _ => None,
        }
    }

    /// What a PUBACK, PUBREC or SUBACK has for a fault.
    pub fn of(fault: &Fault) -> Reason {
        match fault.kind {
            Kind::Forbidden | Kind::Unauthenticated => Reason::NotAuthorized,
            Kind::MethodNotFound | Kind::InvalidRequest => Reason::TopicNameInvalid,
            Kind::TooLarge | Kind::Overloaded => Reason::QuotaExceeded,
            Kind::Internal => Reason::UnspecifiedError,
            _ => Reason::ImplementationSpecificError,
        }
    }
}

//! What callway writes beside calls and events: the names of AMQP header fields and MQTT 5 user
//! properties that are read on one side and written on the other.

/// The group of the callway that sent an event, by which it knows its own again.
pub const ORIGIN: &str = "callway-origin";
/// The id of an event: the same however often it arrives.
pub const EVENT_ID: &str = "event-id";
/// How often a call or an event has passed through callway.
pub const HOPS: &str = "hops";

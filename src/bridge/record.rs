//! An event on its way to a bus, as it is kept in the spool and among the dead letters.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::call::{Form, Payload, parcel};

/// Everything but the payload, which stands behind it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// The bus.
    pub(super) bus: Arc<str>,
    /// Where it goes there.
    pub(super) to: To,
    /// The channel.
    pub(super) channel: Arc<str>,
    /// Names the event everywhere.
    pub(super) event_id: String,
    /// Who published it, if it was a client: its grant is looked at again when it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<Arc<str>>,
    /// Over which kind of transport it came.
    pub(super) via: String,
    /// How often it had passed through callway.
    pub(super) hops: u32,
    /// W3C Trace Context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<Arc<str>>,
    /// What the payload is.
    pub(super) form: Form,
}

/// Where an event goes on its bus.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum To {
    /// A topic.
    Mqtt {
        /// The topic.
        topic: String,
        /// 0, 1 or 2.
        qos: u8,
    },
    /// An exchange.
    Amqp {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
}

impl Header {
    /// With its payload, as it is kept.
    pub(super) fn pack(&self, payload: &[u8]) -> Option<Bytes> {
        parcel::pack(self, payload)
    }

    /// Header and payload; `None` if it is no such record.
    pub(super) fn unpack(record: &Bytes) -> Option<(Header, Payload)> {
        let (header, payload): (Header, Bytes) = parcel::unpack(record)?;
        let payload = Payload::kept(payload, header.form);
        Some((header, payload))
    }
}

impl To {
    /// A number for the topic, or for exchange and key: what has the same one keeps its order.
    pub(super) fn lane(&self) -> u64 {
        let parts = match self {
            To::Mqtt { topic, .. } => [topic.as_str(), ""],
            To::Amqp {
                exchange,
                routing_key,
            } => [exchange.as_str(), routing_key],
        };
        // FNV-1a: the same in every process, because order matters across restarts too.
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

//! What is to be posted, as it is kept in the spool and among the dead letters.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Lane;
use crate::call::{ordered_id, parcel};

/// What stands beside the body. Where it goes is the configuration's to say when it is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// The same each time, so that a receiver can tell a repeat.
    pub(super) id: String,
    /// The thread that it is about, whose order it keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) thread: Option<String>,
}

impl Header {
    /// Of something new.
    pub(super) fn of(thread: Option<&str>) -> Header {
        Header {
            id: ordered_id().hyphenated().to_string(),
            thread: thread.map(str::to_owned),
        }
    }

    /// With its body, as it is kept.
    pub(super) fn pack(&self, body: &[u8]) -> Option<Bytes> {
        parcel::pack(self, body)
    }

    /// Header and body; `None` if it is no such record.
    pub(super) fn unpack(record: &Bytes) -> Option<(Header, Bytes)> {
        parcel::unpack(record)
    }

    /// What it is in order with. FNV-1a: the same in every process, because order matters across
    /// restarts too.
    pub(super) fn lane(&self) -> Lane {
        let Some(thread) = &self.thread else {
            return Lane::Own;
        };
        Lane::Named(thread.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

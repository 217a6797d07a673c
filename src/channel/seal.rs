//! Ids that only this callway gives, so that it knows its own events again wherever they were.
//!
//! Where people speak under their names, a payload alone proves nothing: whoever may publish to
//! the channel, over any transport, could write any name into it. The random part of a sealed id
//! is a MAC over the channel and the payload, so it cannot be made up and fits nothing else. It can
//! be copied with its event, so what comes in from a bus never keeps one.

use std::sync::Arc;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use subtle::ConstantTimeEq as _;
use uuid::{Builder, Uuid};

use super::Event;

/// The key of all sealed ids; cheap to clone.
#[derive(Clone)]
pub struct Seal(Arc<Key>);

impl Seal {
    /// With a secret that stays the same for as long as the events are there.
    pub fn new(secret: &[u8; 32]) -> Seal {
        Seal(Arc::new(Key::new(HMAC_SHA256, secret)))
    }

    /// The id, a UUID version 7, of an event with this payload.
    pub fn id(&self, channel: &str, payload: &[u8], unix_ms: u64) -> Uuid {
        let mut mac = hmac::Context::with_key(&self.0);
        // Its length keeps the channel apart from the payload.
        mac.update(&(channel.len() as u64).to_be_bytes());
        mac.update(channel.as_bytes());
        mac.update(payload);
        mac.update(&unix_ms.to_be_bytes());
        let tag = mac.sign();
        let mut random = [0; 10];
        random.copy_from_slice(&tag.as_ref()[..10]);
        Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid()
    }

    /// Whether an event has a sealed id of its own.
    pub fn is_on(&self, event: &Event) -> bool {
        self.fits(event.id, &event.channel, event.payload.bytes())
    }

    /// Whether this is the sealed id of an event with this payload.
    pub fn fits(&self, id: Uuid, channel: &str, payload: &[u8]) -> bool {
        let id = id.as_bytes();
        let stamp = id[..6]
            .iter()
            .fold(0, |ms, byte| ms << 8 | u64::from(*byte));
        let sealed = self.id(channel, payload, stamp);
        sealed.as_bytes().ct_eq(id).into()
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Payload, ordered_id};

    fn event(id: Uuid, channel: &str, payload: &'static str) -> Event {
        Event {
            id,
            channel: channel.into(),
            time: 7,
            payload: Payload::json(payload),
            hops: 0,
            traceparent: None,
        }
    }

    #[test]
    fn a_seal_fits_one_event_alone() {
        let seal = Seal::new(&[7; 32]);
        let id = seal.id("room/a", b"[1]", 1_700_000_000_000);
        assert_eq!(id.get_version_num(), 7);
        assert!(seal.is_on(&event(id, "room/a", "[1]")));
        assert!(!seal.is_on(&event(id, "room/b", "[1]")), "another channel");
        assert!(!seal.is_on(&event(id, "room/a", "[2]")), "another payload");
        assert!(!seal.is_on(&event(ordered_id(), "room/a", "[1]")));
        assert!(!Seal::new(&[8; 32]).is_on(&event(id, "room/a", "[1]")));
    }
}

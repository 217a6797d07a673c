//! Replies to the requests of one link, found by correlation.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use super::message::Delivery;
use super::topic;
use crate::call::{Pending, PendingReply, random_bits};

/// The address for replies and who waits for them.
pub(super) struct Inbox {
    prefix: String,
    address: String,
    pending: Pending<Correlation, Delivery>,
}

/// 128 random bits: whoever did not see the request cannot answer it. On the wire 32 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Correlation(u128);

/// The right to one reply.
pub(super) type Awaited = PendingReply<Correlation, Delivery>;

/// Why a delivery on the inbox is no reply that anybody waits for.
pub(super) enum Stray {
    /// Late, or the second one, or guessed.
    Unexpected,
    /// Not for this link at all, or it names no correlation.
    Foreign,
    /// Kept by the broker, so it answers nothing that was asked just now.
    Retained,
}

impl Stray {
    /// The reason in `callway_dropped_total`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Stray::Unexpected => "late_reply",
            Stray::Foreign => "foreign_reply",
            Stray::Retained => "retained_reply",
        }
    }
}

impl Inbox {
    /// Below `prefix`, for about `capacity` requests at once.
    pub(super) fn new(prefix: String, capacity: usize) -> Inbox {
        Inbox {
            address: format!("{prefix}/{}", Correlation::random()),
            prefix,
            pending: Pending::new(capacity),
        }
    }

    /// The topic that replies are sent to, and all that is subscribed below the prefix: what is for
    /// another link of this callway to the same broker never comes here. It changes with every
    /// start, so that nobody who saw it earlier knows it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether a topic lies below the prefix.
    pub(super) fn covers(&self, topic: &str) -> bool {
        topic::below(&self.prefix, topic).is_some()
    }

    /// Starts to wait for a reply; `None` if too many wait already.
    pub(super) fn await_reply(&self) -> Option<(Correlation, Awaited)> {
        let correlation = Correlation::random();
        Some((correlation, self.pending.insert(correlation)?))
    }

    /// Takes a reply to whoever waits for it.
    pub(super) fn deliver(&self, delivery: Delivery) -> Result<(), Stray> {
        if delivery.retained {
            return Err(Stray::Retained);
        }
        if delivery.topic != self.address.as_bytes() {
            return Err(Stray::Foreign);
        }
        let correlation = Correlation::of(&delivery).ok_or(Stray::Foreign)?;
        self.pending
            .complete(&correlation, delivery)
            .map_err(|_| Stray::Unexpected)
    }

    /// Ends every wait: the link was lost.
    pub(super) fn clear(&self) {
        self.pending.clear();
    }

    /// Whether anybody waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }
}

impl Correlation {
    pub(super) fn random() -> Correlation {
        Correlation(random_bits().unwrap_or_else(|| uuid::Uuid::new_v4().as_u128()))
    }

    fn parse(text: &[u8]) -> Option<Correlation> {
        let text = std::str::from_utf8(text).ok().filter(|t| t.len() == 32)?;
        u128::from_str_radix(text, 16).ok().map(Correlation)
    }

    /// From the Correlation Data, else from the `id` of a JSON-RPC response.
    fn of(delivery: &Delivery) -> Option<Correlation> {
        #[derive(Deserialize)]
        struct Response<'a> {
            #[serde(borrow)]
            id: Cow<'a, str>,
        }
        match &delivery.properties.correlation {
            Some(data) => Correlation::parse(data),
            None => {
                let response: Response = serde_json::from_slice(&delivery.payload).ok()?;
                Correlation::parse(response.id.as_bytes())
            }
        }
    }
}

impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::link::mqtt::Properties;

    fn reply(topic: &str, correlation: Option<String>, payload: String) -> Delivery {
        Delivery {
            topic: Bytes::from(topic.to_owned()),
            payload: payload.into(),
            qos: 0,
            retained: false,
            properties: Properties {
                correlation: correlation.map(Bytes::from),
                ..Properties::default()
            },
            id: 0,
            again: false,
        }
    }

    fn reason(outcome: Result<(), Stray>) -> &'static str {
        outcome.err().map_or("taken", |stray| stray.reason())
    }

    #[tokio::test]
    async fn only_a_live_correlation_on_the_own_address_counts() {
        let inbox = Inbox::new("callway/inbox/gw-1".into(), 10);
        let (correlation, mut awaited) = inbox.await_reply().unwrap();
        let own = inbox.address().to_owned();
        let right = Some(correlation.to_string());

        let guessed = reply(&own, Some(Correlation::random().to_string()), "1".into());
        assert_eq!(reason(inbox.deliver(guessed)), "late_reply");
        let elsewhere = reply("callway/inbox/gw-1/x", right.clone(), "2".into());
        assert_eq!(reason(inbox.deliver(elsewhere)), "foreign_reply");
        for payload in ["3", "{}", r#"{"id":7}"#, r#"{"id":"7"}"#, "{broken"] {
            let nameless = reply(&own, None, payload.into());
            assert_eq!(reason(inbox.deliver(nameless)), "foreign_reply");
        }
        let mut kept = reply(&own, right.clone(), "4".into());
        kept.retained = true;
        assert_eq!(reason(inbox.deliver(kept)), "retained_reply");

        assert!(
            inbox
                .deliver(reply(&own, right.clone(), "5".into()))
                .is_ok()
        );
        assert_eq!(awaited.wait().await.unwrap().payload, "5");
        let double = reply(&own, right, "6".into());
        assert_eq!(reason(inbox.deliver(double)), "late_reply");
    }

    #[tokio::test]
    async fn a_json_rpc_response_names_its_request() {
        let inbox = Inbox::new("callway/inbox/gw-1".into(), 10);
        let (correlation, mut awaited) = inbox.await_reply().unwrap();
        let payload = format!(r#"{{"jsonrpc":"2.0","id":"{correlation}","result":[1]}}"#);
        let own = inbox.address().to_owned();
        assert!(inbox.deliver(reply(&own, None, payload)).is_ok());
        assert!(awaited.wait().await.is_some());
        assert!(!inbox.is_waiting());
    }
}

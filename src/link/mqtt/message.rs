//! What travels over an MQTT link, the same for MQTT 5 and 3.1.1.

use bytes::Bytes;

/// A message to publish. On MQTT 3.1.1 its properties are left out.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Where it goes; no wildcards.
    pub topic: String,
    /// The body.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// What MQTT 5 carries beside the body.
    pub properties: Properties,
}

/// A message that came in.
#[derive(Debug)]
pub struct Delivery {
    /// Where it was published; UTF-8, checked when it was read from the wire.
    pub(super) topic: Bytes,
    /// The body.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether the broker had kept it, so that it is not news.
    pub retained: bool,
    /// What MQTT 5 carries beside the body.
    pub properties: Properties,
    /// The packet identifier; 0 at QoS 0.
    pub(super) id: u16,
    /// Whether the broker has sent it before (DUP).
    pub(super) again: bool,
}

impl Delivery {
    /// One that came another way than over a link.
    pub fn new(topic: String, payload: Bytes, qos: u8, properties: Properties) -> Delivery {
        Delivery {
            topic: topic.into(),
            payload,
            qos,
            retained: false,
            properties,
            id: 0,
            again: false,
        }
    }

    /// Where it was published.
    pub fn topic(&self) -> &str {
        std::str::from_utf8(&self.topic).unwrap_or_default()
    }
}

/// The properties of a PUBLISH that callway uses (MQTT 5.0 §3.3.2.3).
#[derive(Clone, Debug, Default)]
pub struct Properties {
    /// Where the reply is awaited.
    pub response_topic: Option<String>,
    /// What the reply must carry.
    pub correlation: Option<Bytes>,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// The MIME type of the body.
    pub content_type: Option<String>,
    /// User properties in their order.
    pub user: Vec<(String, String)>,
}

impl Properties {
    /// The value of the first user property of this name.
    pub fn user(&self, name: &str) -> Option<&str> {
        let mut found = self.user.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

impl Message {
    /// No packet of this message is larger, in bytes.
    pub(super) fn size(&self) -> usize {
        let Properties {
            response_topic,
            correlation,
            content_type,
            user,
            ..
        } = &self.properties;
        let texts = [response_topic, content_type].into_iter().flatten();
        let user = user
            .iter()
            .map(|(name, value)| name.len() + value.len() + 5);
        // The rest: fixed header, lengths, packet id, expiry.
        32 + self.topic.len()
            + self.payload.len()
            + texts.map(String::len).sum::<usize>()
            + correlation.as_ref().map_or(0, |data| data.len())
            + user.sum::<usize>()
    }
}

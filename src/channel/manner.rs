//! How an MQTT client published an event, for those who get it over MQTT as well.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What an event of an MQTT client carries for other MQTT clients. Nobody else looks at it.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The session that published it; 0 if it was that of an earlier process.
    pub from: u64,
    /// 0, 1 or 2: none gets it at a higher one.
    pub qos: u8,
    /// The payload was empty, which is `null` to everyone else.
    pub empty: bool,
    /// It became the last event of its channel.
    pub retain: bool,
    /// When it is of no use any more, in Unix milliseconds.
    pub expires: Option<u64>,
    /// What was said beside the payload.
    pub beside: Option<Arc<Beside>>,
}

/// What MQTT 5 carries beside a payload (§3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beside {
    /// The payload is said to be UTF-8.
    pub utf8: bool,
    /// The MIME type of the payload.
    pub content_type: Option<String>,
    /// Where a reply is awaited.
    pub response_topic: Option<String>,
    /// What the reply must carry.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub correlation: Option<Bytes>,
    /// User properties in their order.
    pub user: Vec<(String, String)>,
}

impl Beside {
    /// Bytes that it takes in memory.
    pub fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let user = self.user.iter();
        let user =
            user.map(|(name, value)| size_of::<(String, String)>() + name.len() + value.len());
        let correlation = self.correlation.as_ref().map_or(0, Bytes::len);
        size_of::<Beside>()
            + text(&self.content_type)
            + text(&self.response_topic)
            + correlation
            + user.sum::<usize>()
    }
}

fn to_base64<S: Serializer>(bytes: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
    bytes
        .as_ref()
        .map(|bytes| BASE64.encode(bytes))
        .serialize(to)
}

fn from_base64<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let bytes = text.map(|text| BASE64.decode(text)).transpose();
    let bytes = bytes.map_err(serde::de::Error::custom)?;
    Ok(bytes.map(Bytes::from))
}

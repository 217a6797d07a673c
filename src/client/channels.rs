//! Channels over an MQTT endpoint of a callway, where topics are their names.

use std::time::Duration;

use serde_json::json;

use super::events::Told;
use super::{MqttAddress, Trust, mqtt};
use crate::auth::Secret;
use crate::call::{Fault, Payload};
use crate::dialect::mqtt::topic::{channel_of, topic_of};
use crate::link::mqtt::{Endpoint, Message, Properties, Retain, Subscription};
use crate::router::check_channel;

/// Payloads are nested no deeper than this.
const DEPTH: usize = 1000;

/// Publishes one event, and waits until it is kept. MQTT tells neither its id nor its position.
pub(super) async fn publish(
    address: &MqttAddress,
    token: Option<&Secret>,
    trust: &Trust,
    (channel, payload): (&str, &Payload),
    within: Duration,
) -> Result<Payload, Fault> {
    check_channel(channel)?;
    let mut endpoint = mqtt::connect(address, token, trust, within).await?;
    let published = endpoint.publish(Message {
        topic: topic_of(channel).into_owned(),
        payload: payload.bytes().clone(),
        qos: 1,
        properties: Properties {
            content_type: Some(payload.content_type().to_owned()),
            ..Properties::default()
        },
    });
    let published = published.await;
    endpoint.close().await;
    published.map(|()| Payload::from_value(&json!({})))
}

/// A channel that is being followed.
pub(super) struct Stream {
    endpoint: Endpoint,
}

/// Subscribes. What was published before is not told, as on every transport.
pub(super) async fn follow(
    address: &MqttAddress,
    token: Option<&Secret>,
    trust: &Trust,
    channel: &str,
    within: Duration,
) -> Result<Stream, Fault> {
    check_channel(channel)?;
    let mut endpoint = mqtt::connect(address, token, trust, within).await?;
    let wanted = Subscription {
        filter: topic_of(channel).into_owned(),
        qos: 1,
        retain: Retain::Never,
    };
    endpoint.subscribe(wanted).await?;
    Ok(Stream { endpoint })
}

impl Stream {
    /// The next event.
    pub(super) async fn next(&mut self) -> Result<Told, Fault> {
        let delivery = self.endpoint.next().await?;
        let kind = delivery.properties.content_type.as_deref();
        let mut payload = Payload::from_body(delivery.payload.clone(), kind);
        payload.settle_leniently(DEPTH);
        let channel = json!(channel_of(delivery.topic()));
        let payload = payload.as_json();
        Ok(Told {
            json: format!(r#"{{"channel":{channel},"payload":{payload}}}"#),
            position: None,
        })
    }
}

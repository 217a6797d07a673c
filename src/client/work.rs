//! A worker over an MQTT endpoint of a callway: calls come as messages, answers go as such.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{MqttAddress, Trust, mqtt};
use crate::auth::Secret;
use crate::call::{Deadline, Fault, Kind, Payload};
use crate::dialect::mqtt::topic::{SERVE, below, filter_of};
use crate::link::mqtt::{Endpoint, Message, Properties, Retain, Subscription};
use crate::router::Pattern;

/// Params are nested no deeper than this.
const DEPTH: usize = 1000;

/// What a worker is connected by.
pub struct Work {
    endpoint: Endpoint,
}

/// A call to answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Names the call in logs.
    pub call_id: String,
    /// JSON text.
    pub params: String,
    /// How long somebody waits for the answer.
    pub left: Option<Duration>,
    reply_to: String,
    correlation: Option<Bytes>,
}

impl Work {
    /// Connects, and offers the methods of a pattern.
    pub async fn offer(
        address: &MqttAddress,
        token: Option<&Secret>,
        trust: &Trust,
        methods: &str,
        within: Duration,
    ) -> Result<Work, Fault> {
        let pattern = Pattern::parse(methods);
        let pattern = pattern.map_err(|why| Fault::new(Kind::InvalidRequest, why))?;
        let mut endpoint = mqtt::connect(address, token, trust, within).await?;
        let wanted = Subscription {
            filter: format!("{SERVE}/{}", filter_of(&pattern)),
            qos: 1,
            retain: Retain::Never,
        };
        endpoint.subscribe(wanted).await?;
        Ok(Work { endpoint })
    }

    /// The next call. Safe to drop and ask again.
    pub async fn next(&mut self) -> Result<Asked, Fault> {
        loop {
            let delivery = self.endpoint.next().await?;
            let said = &delivery.properties;
            let method = below(SERVE, delivery.topic());
            let (Some(method), Some(reply_to)) = (method, &said.response_topic) else {
                continue;
            };
            let kind = said.content_type.as_deref();
            let mut params = Payload::from_body(delivery.payload.clone(), kind);
            params.settle_leniently(DEPTH);
            let deadline = said.user("deadline").and_then(|text| text.parse().ok());
            let left = deadline.map(|at| Deadline::from_unix_ms(at).remaining());
            return Ok(Asked {
                method: method.to_owned(),
                call_id: said.user("call-id").unwrap_or_default().to_owned(),
                params: params.as_json().into_owned(),
                left,
                reply_to: reply_to.clone(),
                correlation: said.correlation.clone(),
            });
        }
    }

    /// Answers with a result.
    pub fn result(&self, asked: &Asked, result: &Payload) -> Result<(), Fault> {
        self.answer(asked, "ok", result)
    }

    /// Answers with an error: its kind if the call may go to another worker, and what is told.
    pub fn error(
        &self,
        asked: &Asked,
        status: &str,
        data: &serde_json::Value,
    ) -> Result<(), Fault> {
        self.answer(asked, status, &Payload::from_value(&json!(data)))
    }

    fn answer(&self, asked: &Asked, status: &str, payload: &Payload) -> Result<(), Fault> {
        self.endpoint.send(Message {
            topic: asked.reply_to.clone(),
            payload: payload.bytes().clone(),
            qos: 0,
            properties: Properties {
                correlation: asked.correlation.clone(),
                content_type: Some(payload.content_type().to_owned()),
                user: vec![("status".to_owned(), status.to_owned())],
                ..Properties::default()
            },
        })
    }

    /// Says goodbye once what is queued was sent.
    pub async fn close(self) {
        self.endpoint.close().await;
    }
}

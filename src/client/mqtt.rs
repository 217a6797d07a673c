//! One call as one MQTT message below the topic on which callway takes calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::address::PREFIX;
use super::{Request, Trust, fault};
use crate::auth::Secret;
use crate::call::{Deadline, Fault, Kind, Payload};
use crate::config::{BusCommon, Identity, MqttBus, MqttProtocol};
use crate::link::mqtt::{Delivery, Endpoint, Message, Properties, ReplyTo, ask};

/// Answers are nested no deeper than this.
const DEPTH: usize = 1000;
/// The broker says at QoS 1 whether anybody has subscribed the topic.
const QOS: u8 = 1;

/// Where calls are published.
#[derive(Clone, Debug)]
pub struct MqttAddress {
    /// Host name or address.
    pub host: String,
    /// 1883, or 8883 with TLS, unless the URL says otherwise.
    pub port: u16,
    /// `mqtts://`.
    pub tls: bool,
    /// The broker's login.
    pub login: Option<(String, Secret)>,
    /// `bus.calls` of the callway behind it.
    pub prefix: String,
    /// A topic below which replies may go: one of `bus.reply_topics` takes it.
    pub replies: String,
    /// The protocol version spoken.
    pub protocol: MqttProtocol,
}

/// Publishes the call, and waits for the reply on a topic that nobody else knows.
pub(super) async fn call(
    address: &MqttAddress,
    token: Option<&Secret>,
    trust: &Trust,
    request: &Request,
) -> Result<Payload, Fault> {
    let bus = Arc::new(bus(address, token, trust));
    let make = |reply_to: ReplyTo| match address.protocol {
        MqttProtocol::V5 => bare(address, token, request, &reply_to),
        MqttProtocol::V4 => envelope(address, token, request, &reply_to),
    };
    // The daemon's fault at the deadline is worth more than the client's own.
    let patience = Deadline::after(request.timeout + super::GRACE);
    let delivery = ask(&bus, &address.replies, make, patience).await?;
    match address.protocol {
        MqttProtocol::V5 => bare_reply(&delivery),
        MqttProtocol::V4 => jsonrpc_reply(&delivery),
    }
}

/// Connects to an MQTT endpoint of a callway, where channels have their names.
///
/// Returns `invalid_request` if that is a broker, or the URL asks for what only brokers have.
pub(super) async fn connect(
    address: &MqttAddress,
    token: Option<&Secret>,
    trust: &Trust,
    within: Duration,
) -> Result<Endpoint, Fault> {
    let invalid = |why| Err(Fault::new(Kind::InvalidRequest, why));
    if address.protocol != MqttProtocol::V5 {
        return invalid("MQTT 3.1.1 never says what became of a message: leave ?protocol=4 out");
    }
    if address.prefix != PREFIX {
        return invalid("the path is for calls over a broker; an MQTT endpoint has none");
    }
    let bus = Arc::new(bus(address, token, trust));
    Endpoint::connect(bus, Some(trust.config()), within).await
}

fn bus(address: &MqttAddress, token: Option<&Secret>, trust: &Trust) -> MqttBus {
    // An MQTT endpoint of callway takes the token as the password, with any user name.
    let with_token = || token.map(|token| ("callway".to_owned(), token.clone()));
    MqttBus {
        common: BusCommon {
            name: "call".into(),
            caller: None,
            identity: Identity::None,
            scriptr: None,
        },
        host: address.host.clone(),
        port: address.port,
        tls: address.tls,
        ca: trust.ca(),
        login: address.login.clone().or_else(with_token),
        protocol: address.protocol,
        calls: None,
        reply_topics: Vec::new(),
    }
}

/// MQTT 5: the topic names the method, the properties carry the rest.
fn bare(
    address: &MqttAddress,
    token: Option<&Secret>,
    request: &Request,
    reply_to: &ReplyTo,
) -> Message {
    let seconds = request.timeout.as_millis().div_ceil(1000).max(1);
    let deadline = Deadline::after(request.timeout).unix_ms();
    let mut user = vec![("deadline".to_owned(), deadline.to_string())];
    let key = request.key.as_ref();
    user.extend(key.map(|key| ("idempotency-key".to_owned(), key.clone())));
    user.extend(token.map(|token| ("token".to_owned(), token.expose().to_owned())));
    Message {
        topic: format!("{}/{}", address.prefix, request.method),
        payload: request.params.bytes().clone(),
        qos: QOS,
        properties: Properties {
            response_topic: Some(reply_to.topic.to_owned()),
            correlation: Some(Bytes::from(reply_to.correlation.clone())),
            expiry: Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
            content_type: Some(request.params.content_type().to_owned()),
            user,
        },
    }
}

/// MQTT 3.1.1 has no properties, so everything stands in the body.
fn envelope(
    address: &MqttAddress,
    token: Option<&Secret>,
    request: &Request,
    reply_to: &ReplyTo,
) -> Message {
    let mut text = json!({
        "method": request.method,
        "id": reply_to.correlation,
        "reply_to": reply_to.topic,
        "timeout": format!("{}ms", request.timeout.as_millis().max(1)),
        "token": token.map(Secret::expose),
        "key": request.key,
    })
    .to_string();
    text.pop(); // the params follow as the text that they are
    text.push_str(&format!(r#","params":{}}}"#, request.params.as_json()));
    Message {
        topic: address.prefix.clone(),
        payload: Bytes::from(text),
        qos: QOS,
        properties: Properties::default(),
    }
}

fn bare_reply(delivery: &Delivery) -> Result<Payload, Fault> {
    match delivery.properties.user("status") {
        None | Some("ok") => {}
        Some(status) => return Err(fault::from_bare(status, &delivery.payload)),
    }
    let content_type = delivery.properties.content_type.as_deref();
    let mut payload = Payload::from_body(delivery.payload.clone(), content_type);
    payload.check(DEPTH)?;
    Ok(payload)
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

fn jsonrpc_reply(delivery: &Delivery) -> Result<Payload, Fault> {
    let response = serde_json::from_slice::<Response>(&delivery.payload)
        .map_err(|_| fault::from_bare("", b"\"the reply is no JSON-RPC response\""))?;
    match (response.result, response.error) {
        (_, Some(error)) => Err(fault::from_jsonrpc(error.get())),
        (Some(result), None) => Ok(Payload::json(Bytes::copy_from_slice(
            result.get().as_bytes(),
        ))),
        (None, None) => Ok(Payload::null()),
    }
}

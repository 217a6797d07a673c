//! One call as one MQTT message below the topic on which callway takes calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{Request, Trust, fault};
use crate::auth::Secret;
use crate::call::{Fault, Payload};
use crate::config::{BusCommon, Identity, Limits, MqttBus, MqttProtocol};
use crate::link::mqtt::{Delivery, Message, MqttLink, Properties, ReplyTo, Setup};
use crate::observe::{LinkStates, Metrics};

/// Answers are nested no deeper than this.
const DEPTH: usize = 1000;
/// The broker says at QoS 1 whether anybody has subscribed the topic.
const QOS: u8 = 1;
/// How long saying goodbye to the broker may take.
const FAREWELL: Duration = Duration::from_secs(1);

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
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    // Ends the link also when this future is dropped.
    let end = stop.clone().drop_guard();
    let metrics = Arc::new(Metrics::new());
    let (link, start) = MqttLink::prepare(Setup {
        bus: Arc::new(bus(address, trust)),
        client_id: format!("callway-call-{}", Uuid::new_v4().simple()),
        inbox: format!("{}/{}", address.replies, Uuid::new_v4().simple()),
        limits: Limits::default(),
        calls: None,
        tasks: tasks.clone(),
        stop,
        links: Arc::new(LinkStates::new(metrics.clone())),
        metrics,
    });
    start.start();
    let connected = link.up(request.timeout).await;
    connected.map_err(|why| Fault::unavailable("link_down", format!("the broker: {why}")))?;
    let delivery = link.request(|reply_to| match address.protocol {
        MqttProtocol::V5 => bare(address, token, request, &reply_to),
        MqttProtocol::V4 => envelope(address, token, request, &reply_to),
    });
    let outcome = match (delivery.await?, address.protocol) {
        (delivery, MqttProtocol::V5) => bare_reply(delivery),
        (delivery, MqttProtocol::V4) => jsonrpc_reply(&delivery),
    };
    drop(end);
    tasks.close();
    tokio::time::timeout(FAREWELL, tasks.wait()).await.ok();
    outcome
}

fn bus(address: &MqttAddress, trust: &Trust) -> MqttBus {
    MqttBus {
        common: BusCommon {
            name: "call".into(),
            caller: None,
            identity: Identity::None,
        },
        host: address.host.clone(),
        port: address.port,
        tls: address.tls,
        ca: trust.ca(),
        login: address.login.clone(),
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
    let deadline = crate::call::Deadline::after(request.timeout).unix_ms();
    let mut user = vec![("deadline".to_owned(), deadline.to_string())];
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

fn bare_reply(delivery: Delivery) -> Result<Payload, Fault> {
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

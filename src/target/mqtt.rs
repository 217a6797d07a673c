//! A responder on an MQTT bus: one request message each, its reply on the link's own inbox.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Target;
use crate::call::{Call, Fault, Form, Kind, Outcome, Payload, Reply, beside};
use crate::link::mqtt::{Delivery, Message, MqttLink, Properties, ReplyTo, is_publishable};
use crate::router::{Captures, Place, Template};

/// Calls go to a topic that may hold captures.
pub struct MqttTarget {
    link: MqttLink,
    topic: Template,
    qos: u8,
    format: Format,
    json_depth: usize,
}

/// The shape of requests and replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// The payload is the params or the result; the rest are MQTT 5 properties.
    Params,
    /// A JSON-RPC request with `reply_to`, answered by a JSON-RPC response.
    Jsonrpc,
}

impl MqttTarget {
    /// A target behind `link`. MQTT 3.1.1 has no properties, so there it is always JSON-RPC.
    pub fn new(
        link: MqttLink,
        topic: &Template,
        qos: u8,
        jsonrpc: bool,
        json_depth: usize,
    ) -> MqttTarget {
        MqttTarget {
            format: if jsonrpc || !link.is_v5() {
                Format::Jsonrpc
            } else {
                Format::Params
            },
            link,
            topic: topic.clone(),
            qos,
            json_depth,
        }
    }

    async fn ask(&self, call: &Call, captures: &Captures) -> Outcome {
        let topic = topic(&self.topic, captures)?;
        let request = |reply_to: ReplyTo| match self.format {
            Format::Params => params_request(topic, self.qos, call, &reply_to),
            Format::Jsonrpc => jsonrpc_request(topic, self.qos, call, &reply_to),
        };
        let delivery = self.link.request(request).await?;
        match self.format {
            Format::Params => params_reply(delivery, self.json_depth),
            Format::Jsonrpc => jsonrpc_reply(&delivery.payload, self.json_depth),
        }
    }
}

impl Target for MqttTarget {
    fn call<'a>(&'a self, call: &'a Call, captures: &'a Captures) -> BoxFuture<'a, Outcome> {
        self.ask(call, captures).boxed()
    }
}

fn topic(template: &Template, captures: &Captures) -> Result<String, Fault> {
    let topic = template.expand(captures, Place::Topic)?;
    // Topics that begin with $ are the broker's own; no capture leads there.
    let captured_dollar = topic.starts_with('$') && !template.as_str().starts_with('$');
    if captured_dollar || !is_publishable(&topic) {
        return Err(Fault::new(
            Kind::InvalidRequest,
            "the method name cannot stand in this route's topic",
        ));
    }
    Ok(topic)
}

/// What travels beside the body on MQTT 5, whatever its shape.
fn properties(call: &Call, reply_to: &ReplyTo, content_type: &str) -> Properties {
    let left = call.deadline.remaining().as_millis().div_ceil(1000).max(1);
    let mut user = Vec::with_capacity(5);
    let mut add = |name: &str, value: String| user.push((name.to_owned(), value));
    add("method", call.method.to_string());
    add("call-id", call.id.to_string());
    add("deadline", call.deadline.unix_ms().to_string());
    add(beside::HOPS, (call.hops + 1).to_string());
    if let Some(traceparent) = &call.traceparent {
        add("traceparent", traceparent.to_string());
    }
    Properties {
        response_topic: Some(reply_to.topic.to_owned()),
        correlation: Some(Bytes::from(reply_to.correlation.clone())),
        expiry: Some(u32::try_from(left).unwrap_or(u32::MAX)),
        content_type: Some(content_type.to_owned()),
        user,
    }
}

fn params_request(topic: String, qos: u8, call: &Call, reply_to: &ReplyTo) -> Message {
    Message {
        topic,
        payload: call.params.bytes().clone(),
        qos,
        properties: properties(call, reply_to, call.params.content_type()),
    }
}

/// `timeout`, `call_id` and `hops` are members too, because MQTT 3.1.1 has no other place.
fn jsonrpc_request(topic: String, qos: u8, call: &Call, reply_to: &ReplyTo) -> Message {
    // JSON-RPC 2.0 §4.2: params are a structure or left out.
    let json = call.params.as_json();
    let (before, params, after) = match json.trim_start().as_bytes().first() {
        Some(b'{' | b'[') => (r#","params":"#, &*json, ""),
        _ if json.trim() == "null" => ("", "", ""),
        _ => (r#","params":["#, &*json, "]"),
    };
    // A name may hold quotes and backslashes.
    let method = Value::from(&*call.method);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":"{}","method":{method}{before}{params}{after},"reply_to":"{}","timeout":"{}ms","call_id":"{}","hops":{}}}"#,
        reply_to.correlation,
        reply_to.topic,
        call.deadline.remaining().as_millis(),
        call.id,
        call.hops + 1,
    );
    Message {
        topic,
        payload: Bytes::from(text),
        qos,
        properties: properties(call, reply_to, "application/json"),
    }
}

/// The result; or, if the user property `status` says so, the responder's error.
fn params_reply(delivery: Delivery, json_depth: usize) -> Outcome {
    let properties = &delivery.properties;
    let mut payload = Payload::from_body(delivery.payload, properties.content_type.as_deref());
    let checked = payload.check(json_depth);
    match properties.user("status") {
        None | Some("ok") => {}
        Some(status) => {
            let body = if payload.form() == Form::UncheckedJson {
                Payload::text(payload.bytes().clone())
            } else {
                payload
            };
            return Err(Fault::new(
                Kind::TargetError,
                format!("the responder answered with the status {status:?}"),
            )
            .with_raw_data(body.to_json_bytes()));
        }
    }
    checked.map_err(|fault| unfit(&fault))?;
    Ok(Reply::new(payload))
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// The `result` of a JSON-RPC response, cut out without a copy; its `error` is the responder's.
fn jsonrpc_reply(body: &Bytes, json_depth: usize) -> Outcome {
    let Ok(response) = serde_json::from_slice::<Response>(body) else {
        return Err(Fault::new(
            Kind::TargetError,
            "the responder did not answer with a JSON-RPC response",
        ));
    };
    let cut = |part: &RawValue| Payload::from_body(body.slice_ref(part.get().as_bytes()), JSON);
    if let Some(error) = response.error {
        let mut error = cut(error);
        error.check(json_depth).map_err(|fault| unfit(&fault))?;
        return Err(
            Fault::new(Kind::TargetError, "the responder answered with an error")
                .with_raw_data(error.bytes().clone()),
        );
    }
    let mut result = response.result.map_or_else(Payload::null, cut);
    result.check(json_depth).map_err(|fault| unfit(&fault))?;
    Ok(Reply::new(result))
}

const JSON: Option<&str> = Some("application/json");

fn unfit(fault: &Fault) -> Fault {
    let message = format!(
        "the responder's reply is not fit to travel: {}",
        fault.message
    );
    Fault::new(Kind::TargetError, message)
}

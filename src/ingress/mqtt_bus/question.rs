//! From a delivery to a call: the topic decides the shape.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answer::{Answer, Shape};
use crate::auth::Secret;
use crate::call::{Deadline, Fault, Kind, Payload, beside, is_traceparent};
use crate::config::Limits;
use crate::dialect::envelope::{Envelope, Remains};
use crate::link::mqtt::{Delivery, Properties, below};

/// What is asked.
#[derive(Debug)]
pub(in crate::ingress) struct Question {
    pub(in crate::ingress) method: Arc<str>,
    pub(in crate::ingress) params: Payload,
    pub(in crate::ingress) token: Option<Secret>,
    /// How long the caller waits at most.
    pub(in crate::ingress) wanted: Option<Duration>,
    pub(in crate::ingress) hops: u32,
    pub(in crate::ingress) traceparent: Option<Arc<str>>,
    pub(in crate::ingress) key: Option<Arc<str>>,
}

/// Reads a delivery on a call topic, `calls` or below it: what is asked, or why that cannot be said, and where the
/// outcome goes.
pub(in crate::ingress) fn read(
    calls: &str,
    limits: &Limits,
    delivery: &Delivery,
) -> (Result<Question, Fault>, Answer) {
    let method = below(calls, delivery.topic())
        .unwrap_or_default()
        .to_owned();
    let mut answer = Answer::of(delivery);
    let beside = Beside::read(&delivery.properties);
    let question = if method.is_empty() {
        envelope(limits, &delivery.payload, beside, &mut answer)
    } else {
        params(&method, delivery, beside)
    };
    (bounded(question, limits), answer)
}

/// Reads a call on one of scriptr's addresses: an envelope. Where a property says where the reply
/// goes, it is a bare one, as beside any other call; where the body does, a JSON-RPC response.
pub(in crate::ingress) fn invoke(
    limits: &Limits,
    delivery: &Delivery,
) -> (Result<Question, Fault>, Answer) {
    let mut answer = Answer::of(delivery);
    let beside = Beside::read(&delivery.properties);
    let question = envelope(limits, &delivery.payload, beside, &mut answer);
    if let Some(topic) = &delivery.properties.response_topic {
        answer.topic = Some(topic.clone());
        answer.shape = Shape::Bare;
    }
    let question = question.map(|question| Question {
        // A path, as scriptr's clients write them.
        method: question.method.trim_start_matches('/').into(),
        ..question
    });
    (bounded(question, limits), answer)
}

fn bounded(question: Result<Question, Fault>, limits: &Limits) -> Result<Question, Fault> {
    match question {
        Ok(question) if question.params.len() > limits.message => Err(Fault::new(
            Kind::TooLarge,
            format!(
                "a message has at most {} bytes; see limits.message",
                limits.message
            ),
        )),
        question => question,
    }
}

/// `<calls>/<method>`: the payload is the params.
fn params(
    method: &str,
    delivery: &Delivery,
    beside: Result<Beside, Fault>,
) -> Result<Question, Fault> {
    let beside = beside?;
    let content_type = delivery.properties.content_type.as_deref();
    Ok(Question {
        method: method.into(),
        params: Payload::from_body(delivery.payload.clone(), content_type),
        token: beside.token,
        wanted: beside.wanted,
        hops: beside.hops,
        traceparent: beside.traceparent,
        key: beside.key,
    })
}

/// `<calls>` itself: all is in the body. On MQTT 5 properties count as well.
fn envelope(
    limits: &Limits,
    body: &Bytes,
    beside: Result<Beside, Fault>,
    answer: &mut Answer,
) -> Result<Question, Fault> {
    let envelope = Envelope::read(body, limits.json_depth);
    let remains = match &envelope {
        Ok(envelope) => Remains {
            reply_to: envelope.reply_to.clone(),
            id: envelope.id.clone(),
        },
        Err(_) => Remains::of(body),
    };
    answer.shape = Shape::Jsonrpc(remains.id);
    if remains.reply_to.is_some() {
        answer.topic = remains.reply_to;
    }
    let (envelope, beside) = (envelope?, beside?);
    Ok(Question {
        method: envelope.method.into(),
        params: envelope.params,
        token: one(envelope.token, beside.token)?,
        wanted: sooner(envelope.timeout, beside.wanted),
        hops: envelope.hops.unwrap_or_default().max(beside.hops),
        traceparent: beside.traceparent,
        key: envelope.key.or(beside.key),
    })
}

/// What properties say.
#[derive(Default)]
struct Beside {
    token: Option<Secret>,
    wanted: Option<Duration>,
    hops: u32,
    traceparent: Option<Arc<str>>,
    key: Option<Arc<str>>,
}

impl Beside {
    fn read(properties: &Properties) -> Result<Beside, Fault> {
        let mut beside = Beside {
            wanted: properties
                .expiry
                .map(|seconds| Duration::from_secs(seconds.into())),
            ..Beside::default()
        };
        for (name, value) in &properties.user {
            match name.as_str() {
                "token" => {
                    beside.token = one(beside.token.take(), Some(Secret::new(value.as_str())))?;
                }
                "deadline" => {
                    let left = Deadline::from_unix_ms(unix_ms(value)?).remaining();
                    beside.wanted = sooner(beside.wanted, Some(left));
                }
                // What cannot be read counts as too often, so that no loop gets around the limit.
                beside::HOPS => beside.hops = value.parse().unwrap_or(u32::MAX),
                "idempotency-key" => beside.key = Some(value.as_str().into()),
                "traceparent" if is_traceparent(value) => {
                    beside.traceparent = Some(value.as_str().into());
                }
                _ => {}
            }
        }
        Ok(beside)
    }
}

fn unix_ms(text: &str) -> Result<u64, Fault> {
    text.parse().map_err(|_| {
        Fault::new(
            Kind::InvalidRequest,
            "the user property deadline is not Unix milliseconds",
        )
    })
}

fn one(first: Option<Secret>, second: Option<Secret>) -> Result<Option<Secret>, Fault> {
    match (first, second) {
        (Some(first), Some(second)) if first != second => Err(Fault::new(
            Kind::Unauthenticated,
            "the call carries two different tokens",
        )),
        (first, second) => Ok(first.or(second)),
    }
}

fn sooner(first: Option<Duration>, second: Option<Duration>) -> Option<Duration> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.min(second)),
        (first, second) => first.or(second),
    }
}

//! A client that answers calls: it gets each as a message, and publishes the answer.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::subscriptions::Served;
use crate::call::{Kind, Payload, unix_ms};
use crate::channel::Beside;
use crate::context::Context;
use crate::dialect::mqtt::topic::{ANSWERS, SERVE};
use crate::dialect::mqtt::{Message, Publish, Version};
use crate::target::{Ask, Mail, Seat, WorkerAnswer};

/// What a connection answers. Dropping it withdraws the offer.
#[derive(Default)]
pub(super) struct Worker {
    pub(super) served: Served,
    /// Taken with the first offer.
    seat: Option<Box<Seat>>,
}

impl Worker {
    /// Of a client that is back in its session.
    pub(super) fn resumed(served: Served, context: &Context) -> Worker {
        let mut worker = Worker { served, seat: None };
        if !worker.served.is_empty() {
            worker.offer(context);
        }
        worker
    }

    /// Offers what is served now.
    pub(super) fn offer(&mut self, context: &Context) {
        let methods = self.served.values().map(|(pattern, _)| pattern.clone());
        let concurrency = context.config.limits.in_flight_per_connection;
        self.seat
            .get_or_insert_with(|| Box::new(Seat::take(&context.workers)))
            .offer(methods.collect(), concurrency);
    }

    /// Whether there is an offer.
    pub(super) fn is_seated(&self) -> bool {
        self.seat.is_some()
    }

    /// The next call to answer, as a message.
    pub(super) fn poll(&mut self, version: Version, cx: &mut TaskContext<'_>) -> Poll<Message> {
        let Some(seat) = &mut self.seat else {
            return Poll::Pending;
        };
        loop {
            match seat.poll_mail(cx) {
                Poll::Ready(Some(Mail::Ask(number, ask))) => {
                    let taken = self
                        .served
                        .values()
                        .find(|(one, _)| one.matches(&ask.method));
                    let qos = taken.map_or(0, |(_, qos)| *qos);
                    let message = message(version, number, &ask, qos);
                    seat.hand_over(number, *ask);
                    return Poll::Ready(message);
                }
                // A device hears nothing of it: its answer will be late.
                Poll::Ready(Some(Mail::Cancelled(number))) => drop(seat.forget(number)),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// There is no room for the question: another worker may have some.
    pub(super) fn decline(&mut self, message: &Message) {
        let number = message
            .beside
            .as_ref()
            .and_then(|beside| beside.correlation.as_deref());
        let number = number.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        if let (Some(seat), Some(number)) = (&mut self.seat, number) {
            seat.answer(number, WorkerAnswer::Declined(Kind::Overloaded));
        }
    }

    /// Takes up an answer. Says whether somebody waited for it.
    pub(super) fn answer(&mut self, version: Version, number: &str, publish: &Publish) -> bool {
        let Some(seat) = &mut self.seat else {
            return false;
        };
        let Ok(number) = number.parse() else {
            return false;
        };
        let answer = match version {
            Version::V5 => bare(publish),
            Version::V4 => jsonrpc(&publish.payload),
        };
        seat.answer(number, answer)
    }
}

fn message(version: Version, number: u64, ask: &Ask, qos: u8) -> Message {
    let left = ask.deadline.remaining();
    let reply_to = format!("{ANSWERS}/{number}");
    let user = |name: &str, value: String| (name.to_owned(), value);
    let beside = Beside {
        content_type: Some(ask.params.content_type().to_owned()),
        response_topic: Some(reply_to.clone()),
        correlation: Some(Bytes::from(number.to_string())),
        user: vec![
            user("method", ask.method.to_string()),
            user("call-id", ask.call_id.to_string()),
            user("deadline", ask.deadline.unix_ms().to_string()),
        ],
        ..Beside::default()
    };
    let payload = match version {
        Version::V5 => ask.params.bytes().clone(),
        Version::V4 => request(number, &reply_to, ask),
    };
    Message {
        topic: format!("{SERVE}/{}", ask.method).into(),
        payload,
        qos,
        beside: Some(Arc::new(beside)),
        expires: Some(unix_ms() + left.as_millis() as u64),
        // Its call fails with the connection: answered later, it would be carried out twice.
        passing: true,
        ..Message::default()
    }
}

/// MQTT 3.1.1 has no place beside the body.
fn request(number: u64, reply_to: &str, ask: &Ask) -> Bytes {
    let params = match ask.params.to_value() {
        Value::Null => None,
        params @ (Value::Array(_) | Value::Object(_)) => Some(params),
        // JSON-RPC 2.0 §4.2: params are a structure or left out.
        other => Some(json!([other])),
    };
    let mut request = json!({
        "jsonrpc": "2.0",
        "id": number.to_string(),
        "method": &*ask.method,
        "reply_to": reply_to,
        "timeout": format!("{}ms", ask.deadline.remaining().as_millis()),
        "call_id": ask.call_id.to_string(),
    });
    if let Some(params) = params {
        request["params"] = params;
    }
    Bytes::from(request.to_string())
}

/// The result; or, if the user property `status` says so, an error.
fn bare(publish: &Publish) -> WorkerAnswer {
    let beside = publish.beside.as_deref();
    let kind = beside.and_then(|beside| beside.content_type.as_deref());
    let payload = Payload::from_body(publish.payload.clone(), kind);
    let user = beside.map_or(&[][..], |beside| &beside.user);
    let status = user.iter().find(|(name, _)| name == "status");
    match status.map(|(_, status)| status.as_str()) {
        None | Some("ok") => WorkerAnswer::Result(payload),
        Some("method_not_found") => WorkerAnswer::Declined(Kind::MethodNotFound),
        Some("overloaded") => WorkerAnswer::Declined(Kind::Overloaded),
        Some(_) => WorkerAnswer::Error(error(payload)),
    }
}

/// An error body as JSON, whatever it was.
fn error(mut payload: Payload) -> Bytes {
    const DEPTH: usize = 100;
    match payload.check(DEPTH) {
        Ok(()) => payload.to_json_bytes(),
        Err(_) => Payload::text(payload.bytes().clone()).to_json_bytes(),
    }
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Code {
    code: i64,
}

fn jsonrpc(body: &Bytes) -> WorkerAnswer {
    let Ok(response) = serde_json::from_slice::<Response<'_>>(body) else {
        let why = json!({ "message": "the worker did not answer with a JSON-RPC response" });
        return WorkerAnswer::Error(Bytes::from(why.to_string()));
    };
    let cut = |part: &RawValue| Payload::unchecked_json(body.slice_ref(part.get().as_bytes()));
    if let Some(said) = response.error {
        let code = serde_json::from_str::<Code>(said.get()).map_or(0, |code| code.code);
        return match Kind::from_jsonrpc_code(code) {
            Some(why @ (Kind::MethodNotFound | Kind::Overloaded)) => WorkerAnswer::Declined(why),
            _ => WorkerAnswer::Error(error(cut(said))),
        };
    }
    WorkerAnswer::Result(response.result.map_or_else(Payload::null, cut))
}

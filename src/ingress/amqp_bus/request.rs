//! What a message asks for: pure reading, without a broker.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::Secret;
use crate::call::{Deadline, Fault, Kind, Payload, beside, is_traceparent};
use crate::config::Limits;
use crate::dialect::envelope::Envelope;
use crate::link::amqp::{CALLS, Header, MQTT, Message, Outgoing};
use crate::router::check_name;

/// A call that a message asks for.
#[derive(Debug)]
pub(super) struct Request {
    pub method: String,
    pub params: Payload,
    pub address: Option<Address>,
    pub token: Option<Secret>,
    pub user_id: Option<String>,
    /// Counted from now: the broker never counts an expiration down.
    pub timeout: Option<Duration>,
    pub deadline: Option<Deadline>,
    pub hops: u32,
    pub traceparent: Option<Arc<str>>,
    pub key: Option<Arc<str>>,
}

/// Where an answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A queue, through the default exchange.
    Queue {
        name: String,
        correlation: Option<String>,
    },
    /// An MQTT topic of a client that RabbitMQ's MQTT serves.
    Topic {
        topic: String,
        correlation: Option<String>,
    },
}

/// Why a message is no call, and where to say so.
#[derive(Debug)]
pub(super) struct Refusal {
    pub fault: Fault,
    pub address: Option<Address>,
}

impl Request {
    /// Reads a message. Params are taken as they are; the dispatcher settles their form.
    pub fn read(message: &Message, limits: &Limits) -> Result<Request, Box<Refusal>> {
        let mut address = Address::of(message);
        match read(message, limits, &mut address) {
            Ok(request) => Ok(Request { address, ..request }),
            Err(fault) => Err(Box::new(Refusal { fault, address })),
        }
    }
}

fn read(
    message: &Message,
    limits: &Limits,
    address: &mut Option<Address>,
) -> Result<Request, Fault> {
    if message.body.len() > limits.message {
        let message = format!("the message has more than {} bytes", limits.message);
        return Err(Fault::new(Kind::TooLarge, message));
    }
    if message
        .content_encoding()
        .is_some_and(|c| !c.is_empty() && c != "identity" && c != "utf-8")
    {
        return Err(invalid(
            "the body is encoded; send it without content_encoding",
        ));
    }
    let mut request = Request {
        method: String::new(),
        params: Payload::null(),
        address: None,
        token: text(message, "token")?.map(Secret::new),
        user_id: message.user_id().map(str::to_owned),
        timeout: expiration(message)?,
        deadline: number(message, "deadline")?.map(Deadline::from_unix_ms),
        hops: u32::try_from(number(message, beside::HOPS)?.unwrap_or(0)).unwrap_or(u32::MAX),
        traceparent: text(message, "traceparent")?
            .filter(|text| is_traceparent(text))
            .map(Arc::from),
        key: text(message, "idempotency-key")?.map(Arc::from),
    };
    match method(message)? {
        Some(method) => {
            request.method = method;
            request.params = Payload::from_body(message.body.clone(), message.content_type());
        }
        None => {
            let mut envelope = Envelope::read(&message.body, limits.json_depth)?;
            // The property goes before what the body says.
            if let (None, Some(name)) = (&address, envelope.reply_to.take()) {
                let correlation = envelope.id_text();
                *address = Some(Address::Queue { name, correlation });
            }
            add_envelope(&mut request, envelope)?;
            // A path, as scriptr's clients write them.
            request.method = request.method.trim_start_matches('/').to_owned();
        }
    }
    check_name(&request.method)?;
    // Who may publish which key is the broker's to say; a header must not get around that.
    if message.exchange == CALLS && !is_key_of(&message.routing_key, &request.method) {
        return Err(invalid("the routing key does not belong to the method"));
    }
    Ok(request)
}

fn add_envelope(request: &mut Request, envelope: Envelope) -> Result<(), Fault> {
    if let (Some(header), Some(body)) = (&request.token, &envelope.token)
        && header != body
    {
        return Err(Fault::new(
            Kind::Unauthenticated,
            "the header and the body carry two different tokens",
        ));
    }
    request.method = envelope.method;
    request.params = envelope.params;
    request.token = request.token.take().or(envelope.token);
    request.key = request.key.take().or(envelope.key);
    request.hops = request.hops.max(envelope.hops.unwrap_or_default());
    request.timeout = match (request.timeout, envelope.timeout) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Ok(())
}

/// The method, unless the body says it: header `method`, property `type`, routing key.
fn method(message: &Message) -> Result<Option<String>, Fault> {
    if let Some(method) = text(message, "method")? {
        return Ok(Some(method));
    }
    if let Some(kind) = message.kind().filter(|kind| !kind.is_empty()) {
        return Ok(Some(kind.to_owned()));
    }
    // Through the default exchange the routing key is but the queue's name.
    let key = match message.exchange.as_str() {
        "" => None,
        _ => message.routing_key.strip_prefix("call."),
    };
    Ok(key.map(|key| key.replace('.', "/")))
}

fn is_key_of(key: &str, method: &str) -> bool {
    key.strip_prefix("call.").is_some_and(|key| {
        key.len() == method.len()
            && key
                .bytes()
                .zip(method.bytes())
                .all(|(key, name)| key == if name == b'/' { b'.' } else { name })
    })
}

fn text(message: &Message, name: &str) -> Result<Option<String>, Fault> {
    match message.header(name) {
        None => Ok(None),
        Some(Header::Text(text)) => Ok(Some(text.to_owned())),
        Some(_) => Err(invalid(&format!("the header `{name}` is a text"))),
    }
}

fn number(message: &Message, name: &str) -> Result<Option<u64>, Fault> {
    let wrong = || invalid(&format!("the header `{name}` is a whole number"));
    match message.header(name) {
        None => Ok(None),
        Some(Header::Number(number)) => Ok(Some(number)),
        Some(Header::Text(digits)) => digits.parse().map(Some).map_err(|_| wrong()),
        Some(Header::Other) => Err(wrong()),
    }
}

fn expiration(message: &Message) -> Result<Option<Duration>, Fault> {
    let Some(digits) = message.expiration() else {
        return Ok(None);
    };
    match digits.parse() {
        Ok(ms) => Ok(Some(Duration::from_millis(ms))),
        Err(_) => Err(invalid(
            "the property `expiration` is a number of milliseconds",
        )),
    }
}

fn invalid(why: &str) -> Fault {
    Fault::new(Kind::InvalidRequest, why.to_owned())
}

impl Address {
    #[cfg(test)]
    pub fn queue(name: &str, correlation: Option<&str>) -> Address {
        Address::Queue {
            name: name.into(),
            correlation: correlation.map(str::to_owned),
        }
    }

    #[cfg(test)]
    pub fn topic(topic: &str, correlation: Option<&str>) -> Address {
        Address::Topic {
            topic: topic.into(),
            correlation: correlation.map(str::to_owned),
        }
    }

    fn of(message: &Message) -> Option<Address> {
        let mut correlation = message.correlation_id().map(str::to_owned);
        if correlation.is_none()
            && let Some(Header::Text(id)) = message.header("x-correlation-id")
        {
            correlation = Some(id.to_owned());
        }
        if let Some(name) = message.reply_to().filter(|name| !name.is_empty()) {
            return Some(Address::Queue {
                name: name.to_owned(),
                correlation,
            });
        }
        match message.header("x-reply-to-topic")? {
            Header::Text(topic) => Some(Address::Topic {
                topic: topic.to_owned(),
                correlation,
            }),
            _ => None,
        }
    }

    /// An answer to this address; `None` if it is too long to be one.
    pub fn message(&self, payload: &Payload) -> Option<Outgoing> {
        let (answer, correlation) = match self {
            Address::Queue { name, correlation } => {
                (Outgoing::new("", name, payload)?, correlation)
            }
            Address::Topic { topic, correlation } => {
                let key = topic.replace('/', ".");
                let mut answer = Outgoing::new(MQTT, &key, payload)?;
                if let Some(id) = correlation {
                    answer = answer.text("x-correlation-id", id);
                }
                (answer, correlation)
            }
        };
        Some(match correlation {
            Some(id) => answer.correlation_id(id),
            None => answer,
        })
    }
}

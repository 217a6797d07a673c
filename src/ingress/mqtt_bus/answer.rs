//! From an outcome to a message: bare, or a JSON-RPC response.

use bytes::Bytes;

use crate::call::{Deadline, Outcome};
use crate::dialect::envelope;
use crate::link::mqtt::{Delivery, Message, Properties, is_publishable, matches};

/// Where the outcome of a call goes, and how it looks.
#[derive(Debug)]
pub(in crate::ingress) struct Answer {
    /// Nobody is told without.
    pub(in crate::ingress) topic: Option<String>,
    /// Echoed.
    pub(in crate::ingress) correlation: Option<Bytes>,
    /// That of the request, 1 at most: a reply that comes twice does no harm.
    pub(in crate::ingress) qos: u8,
    pub(in crate::ingress) shape: Shape,
}

#[derive(Debug)]
pub(in crate::ingress) enum Shape {
    /// The result or the fault itself; the user property `status` tells which.
    Bare,
    /// A JSON-RPC response with this `id`, which is JSON text.
    Jsonrpc(Option<Bytes>),
}

impl Answer {
    /// Where the properties of a call say that its outcome goes.
    pub(super) fn of(call: &Delivery) -> Answer {
        Answer {
            topic: call.properties.response_topic.clone(),
            correlation: call.properties.correlation.clone(),
            qos: call.qos.min(1),
            shape: Shape::Bare,
        }
    }

    /// Whether anybody waits for it.
    pub(in crate::ingress) fn is_wanted(&self) -> bool {
        self.topic.is_some()
    }

    /// Whether the address, if there is one, is among those that replies may be sent to.
    pub(in crate::ingress) fn is_allowed(&self, reply_topics: &[String]) -> bool {
        self.topic.as_deref().is_none_or(|topic| {
            is_publishable(topic) && reply_topics.iter().any(|filter| matches(filter, topic))
        })
    }

    /// The reply. It expires when its call does.
    pub(in crate::ingress) fn message(&self, outcome: &Outcome, deadline: Deadline) -> Message {
        let left = deadline.remaining().as_millis().div_ceil(1000).max(1);
        let mut message = Message {
            topic: self.topic.clone().unwrap_or_default(),
            qos: self.qos,
            properties: Properties {
                correlation: self.correlation.clone(),
                expiry: Some(u32::try_from(left).unwrap_or(u32::MAX)),
                ..Properties::default()
            },
            ..Message::default()
        };
        let mut content_type = "application/json";
        match (&self.shape, outcome) {
            (Shape::Jsonrpc(id), outcome) => {
                message.payload = envelope::response(id.as_ref(), outcome);
            }
            (Shape::Bare, Ok(reply)) => {
                content_type = reply.payload.content_type();
                message.payload = reply.payload.bytes().clone();
            }
            (Shape::Bare, Err(fault)) => message.payload = fault.to_json(),
        }
        if let Shape::Bare = self.shape {
            let status = match outcome {
                Ok(_) => "ok",
                Err(fault) => fault.kind.as_str(),
            };
            let status = ("status".to_owned(), status.to_owned());
            message.properties.user.push(status);
        }
        message.properties.content_type = Some(content_type.to_owned());
        message
    }
}

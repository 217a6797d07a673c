//! How an event looks on its bus, and how it gets there.

use std::time::Duration;

use super::record::{Header, To};
use crate::call::{Deadline, Fault, Kind, Payload, beside};
use crate::context::Context;
use crate::link::amqp::{AmqpLink, Outgoing};
use crate::link::mqtt::{Message, MqttLink, Properties};

/// How long a broker may take to confirm an event before it is sent again.
const PATIENCE: Duration = Duration::from_secs(15);

/// The link to one bus.
#[derive(Clone)]
pub(super) enum Out {
    Mqtt(MqttLink),
    Amqp(AmqpLink),
}

impl Out {
    /// Waits until events can be sent, for as long as that takes.
    pub(super) async fn sendable(&self) {
        match self {
            Out::Mqtt(link) => link.sendable().await,
            Out::Amqp(link) => link.sendable().await,
        }
    }

    /// Sends an event and waits until the broker has confirmed it.
    pub(super) async fn publish(
        &self,
        context: &Context,
        header: &Header,
        payload: &Payload,
    ) -> Result<(), Fault> {
        let group = &context.config.cluster.group;
        match (self, &header.to) {
            (Out::Mqtt(link), To::Mqtt { topic, qos }) => {
                let message = mqtt(group, header, payload, topic, *qos);
                let sent = tokio::time::timeout(PATIENCE, link.publish(message));
                sent.await.unwrap_or_else(|_| Err(overdue()))
            }
            (
                Out::Amqp(link),
                To::Amqp {
                    exchange,
                    routing_key,
                },
            ) => {
                let message = amqp(group, header, payload, exchange, routing_key)?;
                link.publish(message, Deadline::after(PATIENCE)).await
            }
            _ => Err(Fault::new(
                Kind::InvalidRequest,
                "the bus of this name was of another kind when the event was kept",
            )),
        }
    }
}

fn mqtt(group: &str, header: &Header, payload: &Payload, topic: &str, qos: u8) -> Message {
    let mut user = Vec::with_capacity(4);
    let mut add = |name: &str, value: String| user.push((name.to_owned(), value));
    add(beside::ORIGIN, group.to_owned());
    add(beside::EVENT_ID, header.event_id.clone());
    add(beside::HOPS, (header.hops + 1).to_string());
    if let Some(traceparent) = &header.traceparent {
        add("traceparent", traceparent.to_string());
    }
    Message {
        topic: topic.to_owned(),
        payload: payload.bytes().clone(),
        qos,
        properties: Properties {
            content_type: Some(payload.content_type().to_owned()),
            user,
            ..Properties::default()
        },
    }
}

fn amqp(
    group: &str,
    header: &Header,
    payload: &Payload,
    exchange: &str,
    routing_key: &str,
) -> Result<Outgoing, Fault> {
    let message = Outgoing::new(exchange, routing_key, payload).ok_or_else(|| {
        Fault::new(
            Kind::InvalidRequest,
            "the channel's name makes a routing key of more than AMQP's 255 bytes",
        )
    })?;
    let message = message
        .persistent()
        .text(beside::ORIGIN, group)
        .text(beside::EVENT_ID, &header.event_id)
        .number(beside::HOPS, u64::from(header.hops) + 1);
    Ok(match &header.traceparent {
        Some(traceparent) => message.text("traceparent", traceparent),
        None => message,
    })
}

fn overdue() -> Fault {
    Fault::unavailable("link_lost", "the broker did not confirm the event in time").handed_over()
}

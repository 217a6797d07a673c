//! Events that come in over an AMQP bus: each becomes an event of its channel before it is
//! acknowledged.

use std::sync::Arc;

use crate::call::{Via, beside};
use crate::config::AmqpBus;
use crate::context::Context;
use crate::ingress::accept::Settled;
use crate::ingress::inward::{Arrival, Inward};
use crate::link::amqp::{AmqpLink, Delivery, Header, Message};

/// Takes events for the channels that the bus feeds, if there are any.
pub fn serve_events(context: &Context, bus: &Arc<AmqpBus>, link: &AmqpLink) {
    let inward = Inward::new(context, &bus.common.name, Via::Amqp);
    let tasks = context.tasks.clone();
    link.receive_events(move |message, delivery| match &inward {
        Some(inward) => {
            // Published here and now, so events keep the order in which they came.
            let settled = inward.take(arrival(&message));
            tasks.spawn(settle(settled, delivery));
        }
        // The queue holds what an earlier configuration had bound.
        None => delivery.ack(),
    });
}

async fn settle(settled: impl Future<Output = Settled>, delivery: Delivery) {
    match settled.await {
        Settled::Done => delivery.ack(),
        Settled::Again => drop(delivery),
    }
}

fn arrival(message: &Message) -> Arrival<'_> {
    let text = |name| match message.header(name) {
        Some(Header::Text(text)) => Some(text),
        _ => None,
    };
    Arrival {
        place: &message.routing_key,
        exchange: Some(&message.exchange),
        payload: message.body.clone(),
        content_type: message.content_type(),
        group: text(beside::ORIGIN),
        id: text(beside::EVENT_ID),
        hops: match message.header(beside::HOPS) {
            None => 0,
            Some(Header::Number(hops)) => u32::try_from(hops).unwrap_or(u32::MAX),
            // What cannot be read counts as too often, so that no loop gets around the limit.
            Some(Header::Text(_) | Header::Other) => u32::MAX,
        },
        traceparent: text("traceparent"),
        retained: false,
        must_keep: true,
    }
}

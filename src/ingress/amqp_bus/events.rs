//! Events that come in over an AMQP bus: each becomes an event of its channel before it is
//! acknowledged.

use std::sync::Arc;

use super::Desk;
use crate::call::{Via, beside};
use crate::config::{Address, AmqpBus};
use crate::context::Context;
use crate::ingress::accept::Settled;
use crate::ingress::inward::{Arrival, Inward, Turn};
use crate::link::amqp::{AmqpLink, Delivery, Header, Message};

/// Takes events for the channels that the bus feeds, if there are any. Calls to scriptr's addresses
/// come the same way, and go to the desk.
pub(super) fn serve_events(
    context: &Context,
    bus: &Arc<AmqpBus>,
    link: &AmqpLink,
    desk: Arc<Desk>,
) {
    let inward = Inward::new(context, &bus.common, Via::Amqp);
    let (tasks, turn) = (context.tasks.clone(), Turn::default());
    let account = bus.common.scriptr.clone();
    let is_call = move |message: &Message| {
        let address = account
            .as_ref()
            .and_then(|account| account.of_key(&message.exchange, &message.routing_key));
        matches!(address, Some(Address::Invoke(_)))
    };
    link.receive_events(move |message, delivery| match &inward {
        _ if is_call(&message) => desk.clone().take_up(message, delivery),
        Some(inward) => {
            // Published here and now, so events keep the order in which they came.
            let settled = inward.take(arrival(&message));
            turn.settle(&tasks, settle(settled, delivery));
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

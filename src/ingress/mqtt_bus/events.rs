//! Events that come in over an MQTT bus: each becomes an event of its channel before it is
//! acknowledged.

use std::sync::Arc;

use crate::call::{Via, beside};
use crate::config::MqttBus;
use crate::context::Context;
use crate::ingress::accept::Settled;
use crate::ingress::inward::{Arrival, Inward, Turn};
use crate::link::mqtt::{Deliveries, Delivery, MqttLink, Receipt};

/// Takes the events of one bus.
pub struct MqttEvents {
    context: Context,
    inward: Inward,
    turn: Turn,
}

impl MqttEvents {
    /// For the channels that the bus feeds; `None` if there are none.
    pub fn new(context: &Context, bus: &Arc<MqttBus>) -> Option<MqttEvents> {
        let inward = Inward::new(context, &bus.common, Via::Mqtt)?;
        Some(MqttEvents {
            context: context.clone(),
            inward,
            turn: Turn::default(),
        })
    }
}

impl Deliveries for MqttEvents {
    fn deliver(&self, _link: &MqttLink, delivery: Delivery, receipt: Receipt) {
        let properties = &delivery.properties;
        let hops = properties.user(beside::HOPS);
        let arrival = Arrival {
            place: delivery.topic(),
            exchange: None,
            payload: delivery.payload.clone(),
            content_type: properties.content_type.as_deref(),
            group: properties.user(beside::ORIGIN),
            id: properties.user(beside::EVENT_ID),
            // What cannot be read counts as too often, so that no loop gets around the limit.
            hops: hops.map_or(0, |hops| hops.parse().unwrap_or(u32::MAX)),
            traceparent: properties.user("traceparent"),
            retained: delivery.retained,
            must_keep: delivery.qos > 0,
        };
        // Published here and now, so events keep the order in which they came.
        let settled = self.inward.take(arrival);
        self.turn.settle(&self.context.tasks, async move {
            match settled.await {
                Settled::Done => receipt.ack(),
                Settled::Again => receipt.leave(),
            }
        });
    }
}

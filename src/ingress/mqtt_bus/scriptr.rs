//! scriptr's addresses on an MQTT bus: `<account>/<channel>/invoke` and `/message`, and the account
//! itself, where older devices publish.

use std::sync::Arc;

use super::question::{self, Question};
use super::{MqttCalls, MqttEvents};
use crate::auth::Caller;
use crate::call::{Fault, Kind, Payload, Via, ordered_id};
use crate::channel::{Origin, Publish};
use crate::config::{Account, Address, MqttBus};
use crate::context::Context;
use crate::dialect::scriptr::publication;
use crate::ingress::accept::{Settled, pause};
use crate::link::mqtt::{Deliveries, Delivery, MqttLink, Receipt};

/// Takes what comes to scriptr's addresses on one bus.
pub struct MqttAddresses {
    context: Context,
    account: Account,
    calls: MqttCalls,
    /// Not there on a bus without a caller, in whose name events are published.
    events: Option<MqttEvents>,
}

impl MqttAddresses {
    /// For the account of the bus; `None` if it has none.
    pub fn new(context: &Context, bus: &Arc<MqttBus>) -> Option<MqttAddresses> {
        Some(MqttAddresses {
            context: context.clone(),
            account: bus.common.scriptr.clone()?,
            calls: MqttCalls::new(context, bus),
            events: MqttEvents::new(context, bus),
        })
    }

    fn call(&self, link: &MqttLink, channel: Option<&str>, delivery: Delivery, receipt: Receipt) {
        let limits = &self.context.config.limits;
        let (mut question, answer) = question::invoke(limits, &delivery);
        if let Some(channel) = channel.filter(|channel| self.context.hub.row(channel).is_none()) {
            let message = format!("The channel [{channel}] does not exist.");
            question = question.and(Err(Fault::new(Kind::MethodNotFound, message)));
        }
        self.calls.take(link, question, answer, delivery, receipt);
    }

    /// On the account itself a body says what it is.
    fn whole(&self, link: &MqttLink, delivery: Delivery, receipt: Receipt) {
        let (question, _) = question::invoke(&self.context.config.limits, &delivery);
        match (publication(&delivery.payload), question) {
            (Some((channel, payload)), Ok(question)) if !delivery.retained => {
                self.publish(question, channel, payload, delivery.qos, receipt);
            }
            _ => self.call(link, None, delivery, receipt),
        }
    }

    fn drop(&self, reason: &'static str, receipt: Receipt) {
        self.context.metrics.dropped("mqtt", reason);
        receipt.ack();
    }

    /// What an older device publishes in the words of its WebSocket.
    fn publish(
        &self,
        question: Question,
        channel: String,
        payload: Payload,
        qos: u8,
        receipt: Receipt,
    ) {
        let (shared, context) = (self.calls.0.clone(), self.context.clone());
        let Ok(place) = shared.waiting_place(qos) else {
            return receipt.ack();
        };
        self.context.tasks.spawn(async move {
            let settled = match shared.authenticate(&question).await {
                Ok(caller) => publish(&context, caller, &question, channel, payload).await,
                Err(fault) => Err(fault),
            };
            match settled {
                Ok(Settled::Again) => receipt.leave(),
                Ok(Settled::Done) => receipt.ack(),
                Err(fault) => {
                    context.metrics.dropped("mqtt", "no_event");
                    tracing::warn!(bus = %shared.bus.common.name, kind = %fault.kind,
                        why = %fault.message, "a Publish was refused");
                    receipt.ack();
                }
            }
            drop(place);
        });
    }
}

impl Deliveries for MqttAddresses {
    fn deliver(&self, link: &MqttLink, delivery: Delivery, receipt: Receipt) {
        let topic = delivery.topic().to_owned();
        match self.account.of_topic(&topic) {
            Some(Address::Message(_)) => match &self.events {
                Some(events) => events.deliver(link, delivery, receipt),
                None => self.drop("forbidden", receipt),
            },
            Some(Address::Invoke(channel)) => self.call(link, Some(channel), delivery, receipt),
            Some(Address::Whole) => self.whole(link, delivery, receipt),
            None => self.drop("not_subscribed", receipt),
        }
    }
}

/// Publishes, trying until the event is kept or callway stops.
async fn publish(
    context: &Context,
    caller: Caller,
    question: &Question,
    channel: String,
    payload: Payload,
) -> Result<Settled, Fault> {
    let event = Publish {
        channel: channel.into(),
        payload,
        origin: Origin::Client {
            caller,
            via: Via::Mqtt,
        },
        // One id for all tries to keep it.
        id: Some(ordered_id()),
        hops: question.hops,
        traceparent: question.traceparent.clone(),
        retained: false,
    };
    loop {
        let kept = match context.hub.publish(event.clone()) {
            Ok(receipt) => receipt.kept().await,
            Err(fault) => Err(fault),
        };
        match kept {
            Ok(_) => return Ok(Settled::Done),
            Err(fault) if !fault.may_pass() => return Err(fault),
            Err(_later) => {}
        }
        if let Some(settled) = pause(context).await {
            return Ok(settled);
        }
    }
}

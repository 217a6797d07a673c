//! The links to the brokers: one for each bus, which carries the calls of both directions.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Bus;
use crate::context::Context;
use crate::ingress::{MqttCalls, amqp_bus};
use crate::link::amqp::AmqpLink;
use crate::link::mqtt::{self, Deliveries, MqttLink};

/// All of them, by bus.
pub(super) struct Links {
    pub(super) mqtt: HashMap<Arc<str>, MqttLink>,
    pub(super) amqp: HashMap<Arc<str>, AmqpLink>,
    waiting: Vec<mqtt::Start>,
}

impl Links {
    /// One for each bus. No MQTT bus is connected yet; AMQP buses begin to.
    pub(super) fn prepare(context: &Context) -> Links {
        let mut links = Links {
            mqtt: HashMap::new(),
            amqp: HashMap::new(),
            waiting: Vec::new(),
        };
        for bus in &context.config.buses {
            match bus {
                Bus::Mqtt(bus) => {
                    let calls = bus
                        .calls
                        .is_some()
                        .then(|| Arc::new(MqttCalls::new(context, bus)) as Arc<dyn Deliveries>);
                    let (link, start) = MqttLink::prepare(mqtt::Setup::of(context, bus, calls));
                    links.mqtt.insert(bus.common.name.clone(), link);
                    links.waiting.push(start);
                }
                Bus::Amqp(bus) => {
                    let link = AmqpLink::start(context, bus);
                    amqp_bus::serve(context, bus, &link);
                    links.amqp.insert(bus.common.name.clone(), link);
                }
            }
        }
        links
    }

    /// Connects without waiting: once the routing table is in place.
    pub(super) fn start(&mut self) {
        self.waiting.drain(..).for_each(mqtt::Start::start);
    }
}

//! The links to the brokers: one for each bus, which carries the calls of both directions.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{AmqpBus, Bus};
use crate::context::Context;
use crate::ingress::{MqttAddresses, MqttCalls, MqttEvents, amqp_bus};
use crate::link::amqp::{self, AmqpLink};
use crate::link::mqtt::{self, Deliveries, MqttLink};

/// All of them, by bus.
pub(super) struct Links {
    pub(super) mqtt: HashMap<Arc<str>, MqttLink>,
    pub(super) amqp: HashMap<Arc<str>, AmqpLink>,
    mqtt_waiting: Vec<mqtt::Start>,
    amqp_waiting: Vec<(Arc<AmqpBus>, amqp::Start)>,
}

impl Links {
    /// One for each bus. None is connected yet.
    pub(super) fn prepare(context: &Context) -> Links {
        let mut links = Links {
            mqtt: HashMap::new(),
            amqp: HashMap::new(),
            mqtt_waiting: Vec::new(),
            amqp_waiting: Vec::new(),
        };
        for bus in &context.config.buses {
            match bus {
                Bus::Mqtt(bus) => {
                    let calls = bus
                        .calls
                        .is_some()
                        .then(|| Arc::new(MqttCalls::new(context, bus)) as Arc<dyn Deliveries>);
                    let events = MqttEvents::new(context, bus)
                        .map(|events| Arc::new(events) as Arc<dyn Deliveries>);
                    let addresses = MqttAddresses::new(context, bus)
                        .map(|addresses| Arc::new(addresses) as Arc<dyn Deliveries>);
                    let setup = mqtt::Setup::of(context, bus, calls, events, addresses);
                    let (link, start) = MqttLink::prepare(setup);
                    links.mqtt.insert(bus.common.name.clone(), link);
                    links.mqtt_waiting.push(start);
                }
                Bus::Amqp(bus) => {
                    let (link, start) = AmqpLink::prepare(context, bus);
                    links.amqp.insert(bus.common.name.clone(), link);
                    links.amqp_waiting.push((bus.clone(), start));
                }
            }
        }
        links
    }

    /// Connects without waiting: once the routing table is in place.
    pub(super) fn start(&mut self, context: &Context) {
        self.mqtt_waiting.drain(..).for_each(mqtt::Start::start);
        for (bus, start) in self.amqp_waiting.drain(..) {
            start.start();
            if let Some(link) = self.amqp.get(&bus.common.name) {
                amqp_bus::serve(context, &bus, link);
            }
        }
    }
}

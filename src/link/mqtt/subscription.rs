//! What is asked of a broker, and who takes what comes of it.

use std::sync::Arc;

use super::{Delivery, MqttLink, Receipt, topic};
use crate::config::{Config, MqttBus};

/// A topic filter and its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The topics; `+` and `#` as MQTT has them.
    pub filter: String,
    /// 0, 1 or 2; the broker may grant less.
    pub qos: u8,
    /// What becomes of messages that the broker has kept. MQTT 3.1.1 has no choice: it sends them.
    pub retain: Retain,
}

/// When messages that the broker has kept are sent (MQTT 5.0 §3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retain {
    /// Not at all.
    Never,
    /// With every subscription, so also after every reconnect.
    OnSubscribe,
}

/// Takes what comes in. It runs in the task that owns the connection, so it must not block and
/// hands the work to another task.
pub trait Deliveries: Send + Sync + 'static {
    /// One message, in the order of arrival. It is the broker's until the receipt says otherwise.
    fn deliver(&self, link: &MqttLink, delivery: Delivery, receipt: Receipt);
}

/// Subscriptions, and who takes what they bring.
pub struct Inlet {
    /// What is subscribed.
    pub subscriptions: Vec<Subscription>,
    /// Who takes it.
    pub taker: Arc<dyn Deliveries>,
}

impl Inlet {
    /// The calls that come in over a bus; `None` if it takes none.
    pub fn calls(bus: &MqttBus, taker: Arc<dyn Deliveries>) -> Option<Inlet> {
        let prefix = bus.calls.as_deref()?;
        let calls = Subscription {
            filter: format!("{prefix}/#"),
            qos: 1,
            // A call that was kept is long over.
            retain: Retain::Never,
        };
        Some(Inlet {
            subscriptions: vec![calls],
            taker,
        })
    }

    /// The events that come in over a bus; `None` if no channel takes any from it.
    pub fn events(config: &Config, bus: &MqttBus, taker: Arc<dyn Deliveries>) -> Option<Inlet> {
        let mut subscriptions: Vec<Subscription> = Vec::new();
        for channel in &config.channels {
            let Some(mqtt) = &channel.mqtt else { continue };
            if mqtt.bus != bus.common.name || !mqtt.direction.takes_in() {
                continue;
            }
            let wanted = Subscription {
                filter: mqtt.topic.filter(&channel.pattern, '/'),
                qos: mqtt.qos,
                retain: Retain::OnSubscribe,
            };
            // Of the same filter a broker keeps only the last subscription.
            match subscriptions.iter_mut().find(|s| s.filter == wanted.filter) {
                Some(same) => same.qos = same.qos.max(wanted.qos),
                None => subscriptions.push(wanted),
            }
        }
        (!subscriptions.is_empty()).then_some(Inlet {
            subscriptions,
            taker,
        })
    }

    /// scriptr's addresses on a bus; `None` if it serves none.
    pub fn addresses(bus: &MqttBus, taker: Arc<dyn Deliveries>) -> Option<Inlet> {
        let account = bus.common.scriptr.as_ref()?;
        let all = Subscription {
            filter: account.topics(),
            qos: 1,
            // An event that was kept is the channel's last one.
            retain: Retain::OnSubscribe,
        };
        Some(Inlet {
            subscriptions: vec![all],
            taker,
        })
    }

    pub(super) fn takes(&self, topic: &str) -> bool {
        let mut filters = self.subscriptions.iter();
        filters.any(|subscription| topic::matches(&subscription.filter, topic))
    }
}

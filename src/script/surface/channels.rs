//! What scripts ask of channels: which there are, to be called with their events, and to publish by
//! the topic of a bus.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asking, method};
use crate::auth::Verb;
use crate::call::{Fault, Kind, Payload, Via};
use crate::channel::{Origin, Publish, permit};
use crate::config::{Account, Address, Bus, Channel};
use crate::router::Reverse;
use crate::store::Subscription;

#[derive(Deserialize)]
pub(super) struct Name {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Wish {
    channel: String,
    script: String,
}

#[derive(Deserialize)]
pub(super) struct Message {
    bus: String,
    topic: String,
    message: Value,
}

impl Asking<'_> {
    /// The row that takes a channel's name, in scriptr's words if there is none.
    pub(super) fn find(&self, channel: &str) -> Result<&Arc<Channel>, Fault> {
        self.context.hub.row(channel).ok_or_else(|| {
            let message = format!("The channel [{channel}] does not exist.");
            Fault::new(Kind::MethodNotFound, message)
        })
    }

    pub(super) async fn subscribe(&self, wish: Wish) -> Result<Value, Fault> {
        let caller = &self.call.caller;
        let method = method(&wish.script);
        permit(caller, Verb::Subscribe, &wish.channel)?;
        self.find(&wish.channel)?;
        if !caller.may(Verb::Call, method) {
            let message = format!("no grant of this token allows to call {method:?}");
            return Err(Fault::new(Kind::Forbidden, message));
        }
        let subscription = Subscription {
            channel: wish.channel.into(),
            method: method.into(),
            caller: caller.token().name.clone(),
        };
        self.context.scripts.add(subscription).await?;
        Ok(Value::Null)
    }

    pub(super) async fn unsubscribe(&self, wish: Wish) -> Result<Value, Fault> {
        permit(&self.call.caller, Verb::Subscribe, &wish.channel)?;
        let scripts = &self.context.scripts;
        scripts.remove(&wish.channel, method(&wish.script)).await?;
        Ok(Value::Null)
    }

    pub(super) fn channel(&self, name: Name) -> Result<Value, Fault> {
        self.find(&name.name)?;
        Ok(json!({ "name": name.name }))
    }

    /// Those that have a name, and not only a pattern.
    pub(super) fn channels(&self) -> Value {
        let rows = self.context.config.channels.iter();
        let names: Vec<_> = rows
            .filter_map(|row| row.pattern.literal())
            .map(|name| json!({ "name": name }))
            .collect();
        json!({ "count": names.len().to_string(), "channels": names })
    }

    /// Publishes an event of the channel whose row sends to this topic: there is no other way to a
    /// bus, so that grants and order are the same for all.
    pub(super) async fn mqtt(&self, message: Message) -> Result<Value, Fault> {
        let channel = self.channel_of(&message.bus, &message.topic)?;
        let payload = match message.message {
            Value::String(text) => Payload::from_body(text, None),
            value => Payload::from_value(&value),
        };
        let receipt = self.context.hub.publish(Publish {
            channel: channel.into(),
            payload,
            origin: Origin::Client {
                caller: self.call.caller.clone(),
                via: Via::Script,
            },
            id: None,
            hops: self.call.hops.saturating_add(1),
            traceparent: self.call.traceparent.clone(),
            retained: false,
        })?;
        receipt.kept().await?;
        Ok(Value::Null)
    }

    fn channel_of(&self, bus: &str, topic: &str) -> Result<String, Fault> {
        let config = &self.context.config;
        let bus = config.buses.iter().find_map(|known| match known {
            Bus::Mqtt(known) if is_named(bus, &known.common.name, &known.host, known.port) => {
                Some(&known.common)
            }
            _ => None,
        });
        let bus = bus.ok_or_else(|| {
            let message = "mqtt: this is neither the name nor the address of an MQTT bus of the \
                           configuration; scripts reach no other broker";
            Fault::new(Kind::InvalidParams, message)
        })?;
        let account = bus
            .scriptr
            .as_ref()
            .and_then(|account| of_account(account, topic));
        let rows = config.channels.iter().filter_map(|row| {
            let mqtt = row.mqtt.as_ref()?;
            let sends = mqtt.bus == bus.name && mqtt.direction.sends_out();
            let names = Reverse::new(&row.pattern, &mqtt.topic, '/').ok()?;
            sends.then(|| names.name_of(topic)).flatten()
        });
        account.into_iter().chain(rows).next().ok_or_else(|| {
            let message = format!(
                "mqtt: no [[channel]] row sends to the topic {topic:?} of the bus {}",
                bus.name
            );
            Fault::new(Kind::InvalidParams, message)
        })
    }
}

fn of_account(account: &Account, topic: &str) -> Option<String> {
    match account.of_topic(topic)? {
        Address::Message(channel) => Some(channel.to_owned()),
        _ => None,
    }
}

/// By its name, or as `mqtt://host:port`.
fn is_named(text: &str, name: &str, host: &str, port: u16) -> bool {
    let address = || {
        let (_, address) = text.split_once("://")?;
        let (asked, digits) = address.trim_end_matches('/').rsplit_once(':')?;
        Some(asked.eq_ignore_ascii_case(host) && digits.parse() == Ok(port))
    };
    text == name || address().unwrap_or(false)
}

//! `[[channel]]` rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::bus::{amqp_named, declared, is_topic, mqtt_named};
use super::overlap::{INBOX, overlap, same_mqtt};
use super::{Reading, count, duration, names_token, rows, shape_of, size, template, text};
use crate::config::node::Node;
use crate::config::report::Problem;
use crate::config::{
    Account, Bus, Channel, ChannelAmqp, ChannelCall, ChannelMqtt, Direction, History, MqttProtocol,
};
use crate::router::{Pattern, Reverse};

pub(super) fn channels(reading: &mut Reading<'_>, buses: &[Bus]) -> Vec<Arc<Channel>> {
    let root = reading.root;
    let mut channels = Vec::new();
    let mut seen = HashMap::new();
    for row in rows(root, "channel") {
        let Some(channel) = channel(reading, row, buses) else {
            continue;
        };
        let place = row.get("name").unwrap_or(row);
        if let Some(first) = seen.insert(shape_of(&channel.pattern), place.origin.clone()) {
            let message = "two channel rows are about the same channels";
            let problem = Problem::new(place.origin.clone(), message);
            reading.problems.push(problem.and(first, "the first one"));
        }
        channels.push(Arc::new(channel));
    }
    channels
}

fn channel(reading: &mut Reading<'_>, row: &Node, buses: &[Bus]) -> Option<Channel> {
    let place = row.get("name")?;
    let pattern = reading.keep(place, Pattern::parse(place.text()?));
    let known = pattern.as_ref();
    let mqtt = match row.get("mqtt") {
        Some(node) => Some(mqtt(reading, node, known, buses)?),
        None => None,
    };
    let amqp = match row.get("amqp") {
        Some(node) => Some(amqp(reading, node, known, buses)?),
        None => None,
    };
    Some(Channel {
        mqtt,
        amqp,
        history: row.get("history").map(history),
        call: call(reading, row, known),
        description: text(row, "description").map(str::to_owned),
        pattern: pattern?,
    })
}

fn mqtt(
    reading: &mut Reading<'_>,
    node: &Node,
    pattern: Option<&Pattern>,
    buses: &[Bus],
) -> Option<ChannelMqtt> {
    let place = node.get("topic")?;
    let topic = template(reading, place, pattern)?;
    if !is_topic(&topic.with_wildcard("x")) {
        reading.problem(place, "a topic has no wildcard and no empty level");
    }
    let direction = direction(node)?;
    if let Some(pattern) = pattern.filter(|_| direction.takes_in()) {
        reading.keep(place, Reverse::new(pattern, &topic, '/'))?;
    }
    let bus = mqtt_named(reading, node, buses)?;
    if bus.protocol == MqttProtocol::V4 && direction == Direction::Both {
        reading.problem(
            node.get("direction")?,
            "MQTT 3.1.1 has no place for the mark that keeps events from going round; use two \
             channels, \"in\" and \"out\", with different topics",
        );
    }
    Some(ChannelMqtt {
        bus: bus.common.name.clone(),
        topic,
        qos: count(node, "qos")
            .and_then(|qos| u8::try_from(qos).ok())
            .unwrap_or(1),
        direction,
    })
}

fn amqp(
    reading: &mut Reading<'_>,
    node: &Node,
    pattern: Option<&Pattern>,
    buses: &[Bus],
) -> Option<ChannelAmqp> {
    let place = node.get("routing_key")?;
    let routing_key = template(reading, place, pattern)?;
    if routing_key.with_wildcard("x").len() > 255 {
        reading.problem(place, "a routing key has at most 255 bytes");
    }
    let exchange = text(node, "exchange")?.to_owned();
    if exchange.is_empty() || exchange.len() > 255 || exchange.starts_with("callway") {
        reading.problem(
            node.get("exchange")?,
            "events go through an exchange of their own: not the default one, and none of \
             callway's",
        );
    }
    let direction = direction(node)?;
    if let Some(pattern) = pattern.filter(|_| direction.takes_in()) {
        reading.keep(place, Reverse::new(pattern, &routing_key, '.'))?;
    }
    let bus = amqp_named(reading, node, buses)?;
    if let Some(account) = &bus.common.scriptr
        && exchange.starts_with(&account.exchange(""))
    {
        let message = format!("the exchanges {}* are scriptr's", account.exchange(""));
        reading.problem(node.get("exchange")?, message);
    }
    Some(ChannelAmqp {
        bus: bus.common.name.clone(),
        exchange,
        routing_key,
        declare: declared(node),
        direction,
    })
}

fn direction(node: &Node) -> Option<Direction> {
    match text(node, "direction")? {
        "in" => Some(Direction::In),
        "out" => Some(Direction::Out),
        "both" => Some(Direction::Both),
        _ => None,
    }
}

fn history(node: &Node) -> History {
    History {
        count: count(node, "count")
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(100),
        age: duration(node, "age").unwrap_or(Duration::from_secs(7 * 86_400)),
        bytes: size(node, "bytes").unwrap_or(10 * 1024 * 1024) as u64,
    }
}

fn call(reading: &mut Reading<'_>, row: &Node, pattern: Option<&Pattern>) -> Option<ChannelCall> {
    let (method, caller) = match (row.get("call"), row.get("call_as")) {
        (Some(method), Some(caller)) => (method, caller),
        (None, None) => return None,
        (Some(only), None) => {
            reading.problem(only, "say as which token row it is called: `call_as`");
            return None;
        }
        (None, Some(only)) => {
            reading.problem(only, "`call_as` says who calls; `call` says which method");
            return None;
        }
    };
    let name = caller.text()?;
    if !names_token(reading.root, name) {
        reading.problem(caller, format!("there is no token {name:?}"));
    }
    Some(ChannelCall {
        method: template(reading, method, pattern)?,
        caller: name.into(),
    })
}

/// Topics of events are none of calls and replies on the same broker, whichever way they go.
pub(super) fn refuse_taken_topics(
    reading: &mut Reading<'_>,
    channels: &[Arc<Channel>],
    buses: &[Bus],
) {
    let mqtt = |bus: &Bus| match bus {
        Bus::Mqtt(bus) => Some(bus.clone()),
        Bus::Amqp(_) => None,
    };
    let of_mqtt: Vec<_> = buses.iter().filter_map(mqtt).collect();
    for channel in channels {
        let Some(used) = &channel.mqtt else { continue };
        let named = |bus: &&Arc<crate::config::MqttBus>| bus.common.name == used.bus;
        let Some(through) = of_mqtt.iter().find(named) else {
            continue;
        };
        let topics = used.topic.filter(&channel.pattern, '/');
        let mut taken = vec![(INBOX.to_owned(), "the inbox of callway's own calls")];
        for bus in of_mqtt.iter().filter(|bus| same_mqtt(bus, through)) {
            let calls = bus.calls.iter().map(|calls| format!("{calls}/#"));
            taken.extend(calls.map(|filter| (filter, "the topics of calls")));
            let account = bus.common.scriptr.iter().map(Account::topics);
            taken.extend(account.map(|filter| (filter, "scriptr's topics of all channels")));
            let replies = bus.reply_topics.iter().cloned();
            taken.extend(replies.map(|filter| (filter, "where replies to calls go")));
        }
        let met = taken.iter().find(|(other, _)| overlap(&topics, other, '/'));
        if let Some((other, what)) = met {
            let row = rows(reading.root, "channel")
                .iter()
                .find(|row| text(row, "name") == Some(channel.pattern.as_str()));
            let place = row.and_then(|row| row.get("mqtt")?.get("topic"));
            let place = place.unwrap_or(reading.root);
            reading.problem(place, format!("{topics} could be one of {other}, {what}"));
        }
    }
}

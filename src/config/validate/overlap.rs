//! Addresses that must not meet: where replies go and where calls come from or go to. Two buses
//! may lead to one broker, so what counts is the broker.

use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::Reading;
use crate::config::node::Node;
use crate::config::{Account, AmqpBus, Bus, MqttBus, Route, RouteTarget};

/// The topics below which replies to callway's own calls arrive.
pub(super) const INBOX: &str = "callway/inbox/#";
const LOOP: &str = "this leads back into callway's own calls on the same broker";

pub(super) fn check(reading: &mut Reading<'_>, buses: &[Bus], routes: &[Arc<Route>]) {
    for (index, bus) in buses.iter().enumerate() {
        let mut others = buses[..index].iter();
        if let Some(other) = others.find(|other| take_the_same_calls(bus, other)) {
            let message = format!(
                "bus {} takes the same calls from the same broker, so each would run twice; give \
                 one of them other `calls`, or \"\" for none",
                other.name()
            );
            reading.problem(bus_place(reading.root, bus, "calls"), message);
        }
        check_account(reading, bus, buses, index);
        match bus {
            Bus::Mqtt(mqtt) => check_mqtt(reading, bus, mqtt, buses, routes),
            Bus::Amqp(amqp) => check_amqp(reading, amqp, buses, routes),
        }
    }
}

/// scriptr's addresses of one account are served once on a broker.
fn check_account(reading: &mut Reading<'_>, bus: &Bus, buses: &[Bus], index: usize) {
    let Some(account) = &bus.common().scriptr else {
        return;
    };
    let same =
        |other: &&Bus| other.common().scriptr.as_ref() == Some(account) && same_broker(bus, other);
    let place = bus_place(reading.root, bus, "scriptr");
    let shares = |other: &&Bus| {
        let amqp = matches!(bus, Bus::Amqp(_)) && other.common().scriptr.is_some();
        amqp && !same(other) && same_broker(bus, other)
    };
    if let Some(other) = buses[..index].iter().find(shares) {
        let message = format!(
            "bus {} serves another account in the same virtual host, where the exchanges of both \
             could meet; give each account a virtual host",
            other.name()
        );
        reading.problem(place, message);
    }
    if let Some(other) = buses[..index].iter().find(same) {
        let message = format!(
            "bus {} serves the addresses of {account} on the same broker already, so each call \
             would run twice",
            other.name()
        );
        reading.problem(place, message);
    }
    let topics = account.topics();
    let takes = |other: &&Bus| match other {
        Bus::Mqtt(mqtt) if same_broker(bus, other) => {
            let calls = mqtt.calls.as_ref().map(|calls| format!("{calls}/#"));
            calls.is_some_and(|calls| overlap(&topics, &calls, '/'))
        }
        _ => false,
    };
    if let Some(other) = buses.iter().find(takes) {
        let message = format!(
            "{topics} takes in the topics of calls of bus {}",
            other.name()
        );
        reading.problem(place, message);
    }
}

fn same_broker(one: &Bus, other: &Bus) -> bool {
    match (one, other) {
        (Bus::Mqtt(one), Bus::Mqtt(other)) => same_mqtt(one, other),
        (Bus::Amqp(one), Bus::Amqp(other)) => same_amqp(one, other),
        _ => false,
    }
}

fn check_mqtt(
    reading: &mut Reading<'_>,
    bus: &Bus,
    mqtt: &MqttBus,
    buses: &[Bus],
    routes: &[Arc<Route>],
) {
    let root = reading.root;
    let calls = mqtt.calls.as_ref().map(|calls| format!("{calls}/#"));
    if calls
        .as_ref()
        .is_some_and(|calls| overlap(calls, INBOX, '/'))
    {
        let message = format!("this takes in {INBOX}, the inbox of callway's own calls");
        reading.problem(bus_place(root, bus, "calls"), message);
    }
    let mut taken = vec![(INBOX.to_owned(), "the inbox of callway's own calls")];
    taken.extend(calls.clone().map(|filter| (filter, "the topics of calls")));
    let account = mqtt.common.scriptr.as_ref().map(Account::topics);
    if let Some(account) = &account {
        taken.push((account.clone(), "the topics of the account"));
    }
    for route in routes {
        let RouteTarget::Mqtt {
            bus: name, topic, ..
        } = &route.target
        else {
            continue;
        };
        let through = buses.iter().find(|bus| bus.name() == &**name);
        let Some(Bus::Mqtt(through)) = through else {
            continue;
        };
        if !same_mqtt(through, mqtt) {
            continue;
        }
        let filter = topic.filter(&route.pattern, '/');
        let place = target_place(reading, route, "mqtt", "topic");
        if calls
            .as_ref()
            .is_some_and(|calls| overlap(calls, &filter, '/'))
        {
            reading.problem(place, LOOP);
        }
        if account
            .as_ref()
            .is_some_and(|account| overlap(account, &filter, '/'))
        {
            reading.problem(place, "this leads back into the topics of the account");
        }
        if *name == mqtt.common.name && overlap(INBOX, &filter, '/') {
            reading.problem(
                place,
                "this may lead into callway's inbox, where replies arrive",
            );
        }
        taken.push((filter, "the topic of a route"));
    }
    let place = bus_place(root, bus, "");
    let list = place.get("reply_topics");
    for filter in &mqtt.reply_topics {
        let node = list
            .and_then(|list| list.list().iter().find(|node| node.text() == Some(filter)))
            .unwrap_or(place);
        for (other, what) in &taken {
            if overlap(filter, other, '/') {
                reading.problem(
                    node,
                    format!("replies to {filter} could reach {other}, {what}"),
                );
            }
        }
    }
}

fn check_amqp(reading: &mut Reading<'_>, amqp: &AmqpBus, buses: &[Bus], routes: &[Arc<Route>]) {
    let Some(calls) = &amqp.calls else { return };
    for route in routes {
        let RouteTarget::Amqp {
            bus: name,
            exchange,
            routing_key,
            ..
        } = &route.target
        else {
            continue;
        };
        let through = buses.iter().find(|bus| bus.name() == &**name);
        let Some(Bus::Amqp(through)) = through else {
            continue;
        };
        let key = routing_key.filter(&route.pattern, '.');
        let leads_back = match exchange.as_str() {
            "" => overlap(&key, calls, '.'),
            "callway" => overlap(&key, "call.#", '.'),
            _ => false,
        };
        if leads_back && same_amqp(through, amqp) {
            let place = target_place(reading, route, "amqp", "routing_key");
            reading.problem(place, LOOP);
        }
    }
}

/// Whether some call would reach callway over both buses.
fn take_the_same_calls(one: &Bus, other: &Bus) -> bool {
    match (one, other) {
        (Bus::Mqtt(one), Bus::Mqtt(other)) => match (&one.calls, &other.calls) {
            (Some(a), Some(b)) => {
                same_mqtt(one, other) && overlap(&format!("{a}/#"), &format!("{b}/#"), '/')
            }
            _ => false,
        },
        // Each queue gets all that is published to the exchange `callway`.
        (Bus::Amqp(one), Bus::Amqp(other)) => {
            same_amqp(one, other) && one.calls.is_some() && other.calls.is_some()
        }
        _ => false,
    }
}

/// The same broker.
pub(super) fn same_mqtt(one: &MqttBus, other: &MqttBus) -> bool {
    one.host.eq_ignore_ascii_case(&other.host) && one.port == other.port
}

/// The same virtual host.
pub(super) fn same_amqp(one: &AmqpBus, other: &AmqpBus) -> bool {
    let port = |bus: &AmqpBus| {
        let usual = if bus.url.scheme() == "amqps" {
            5671
        } else {
            5672
        };
        bus.url.port().unwrap_or(usual)
    };
    // Without a path it is the virtual host "/", which otherwise is written %2f.
    let vhost = |bus: &AmqpBus| match bus.url.path().trim_start_matches('/') {
        "" => "/".to_owned(),
        path => percent_decode_str(path).decode_utf8_lossy().into_owned(),
    };
    let host = |bus: &AmqpBus| bus.url.host_str().map(str::to_ascii_lowercase);
    host(one) == host(other) && port(one) == port(other) && vhost(one) == vhost(other)
}

/// A key of the table that a bus was read from, else the table.
fn bus_place<'a>(root: &'a Node, bus: &Bus, key: &str) -> &'a Node {
    let table = root.get("bus").and_then(|table| table.get(bus.name()));
    table
        .and_then(|table| table.get(key))
        .or(table)
        .unwrap_or(root)
}

fn target_place<'a>(reading: &Reading<'a>, route: &Route, target: &str, key: &str) -> &'a Node {
    reading
        .row_of(route)
        .and_then(|row| row.get(target)?.get(key))
        .unwrap_or(reading.root)
}

/// Whether some topic is taken by both filters (MQTT 5, section 4.7); with `.` as the separator,
/// whether some routing key is.
pub(super) fn overlap(one: &str, other: &str, separator: char) -> bool {
    let (mut one, mut other) = (one.split(separator), other.split(separator));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn filters_overlap_where_one_topic_fits_both() {
        let overlap = |one, other| overlap(one, other, '/');
        assert!(overlap("a/#", "a"));
        assert!(overlap("a/+/c", "a/b/+"));
        assert!(overlap("#", "x/y"));
        assert!(!overlap("a/+", "a/b/c"));
        assert!(!overlap("a/b", "a/c"));
        assert!(!overlap("callway/reply/#", "callway/inbox/#"));
    }
}

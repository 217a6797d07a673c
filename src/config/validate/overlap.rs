//! Addresses that must not meet: where replies go and where calls come from or go to.

use std::sync::Arc;

use super::{Reading, row_of};
use crate::config::node::Node;
use crate::config::{Bus, MqttBus, Route, RouteTarget};

/// The topics below which replies to callway's own calls arrive.
const INBOX: &str = "callway/inbox/#";

pub(super) fn check(reading: &mut Reading<'_>, buses: &[Bus], routes: &[Arc<Route>]) {
    for bus in buses {
        match bus {
            Bus::Mqtt(bus) => check_mqtt(reading, bus, routes),
            Bus::Amqp(bus) => {
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
                    let own = *name == bus.common.name
                        && bus.calls.as_deref().is_some_and(|calls| {
                            (exchange.is_empty() && routing_key.as_str() == calls)
                                || (exchange == "callway"
                                    && routing_key.as_str().starts_with("call."))
                        });
                    if own {
                        let place = target_place(reading.root, route, "amqp", "routing_key");
                        reading.problem(place, LOOP);
                    }
                }
            }
        }
    }
}

const LOOP: &str = "this leads back into callway's own calls on the same bus";

fn check_mqtt(reading: &mut Reading<'_>, bus: &Arc<MqttBus>, routes: &[Arc<Route>]) {
    let root = reading.root;
    let calls = bus.calls.as_ref().map(|calls| format!("{calls}/#"));
    let mut taken = vec![(INBOX.to_owned(), "the inbox of callway's own calls")];
    taken.extend(calls.clone().map(|filter| (filter, "the topics of calls")));
    for route in routes {
        let RouteTarget::Mqtt {
            bus: name, topic, ..
        } = &route.target
        else {
            continue;
        };
        if *name != bus.common.name {
            continue;
        }
        let filter = topic.with_wildcard("+");
        let place = target_place(root, route, "mqtt", "topic");
        if calls.as_ref().is_some_and(|calls| overlap(calls, &filter)) {
            reading.problem(place, LOOP);
        }
        if overlap(INBOX, &filter) {
            reading.problem(place, "this topic is part of callway's inbox");
        }
        taken.push((filter, "the topic of a route"));
    }
    let place = root
        .get("bus")
        .and_then(|table| table.get(&bus.common.name));
    let list = place.and_then(|bus| bus.get("reply_topics"));
    for filter in &bus.reply_topics {
        let node = list
            .and_then(|list| list.list().iter().find(|node| node.text() == Some(filter)))
            .or(place)
            .unwrap_or(root);
        for (other, what) in &taken {
            if overlap(filter, other) {
                reading.problem(
                    node,
                    format!("replies to {filter} could reach {other}, {what}"),
                );
            }
        }
    }
}

fn target_place<'a>(root: &'a Node, route: &Route, target: &str, key: &str) -> &'a Node {
    row_of(root, route)
        .and_then(|row| row.get(target)?.get(key))
        .unwrap_or(root)
}

/// Whether some topic is taken by both filters (MQTT 5, section 4.7).
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
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
        assert!(overlap("a/#", "a"));
        assert!(overlap("a/+/c", "a/b/+"));
        assert!(overlap("#", "x/y"));
        assert!(!overlap("a/+", "a/b/c"));
        assert!(!overlap("a/b", "a/c"));
        assert!(!overlap("callway/reply/#", "callway/inbox/#"));
    }
}

//! Events must not go round: channels that lead to each other over brokers and calls are refused,
//! with the way that they would take. One row with direction `both` is no such way, because events
//! carry the mark of who sent them.

use std::sync::Arc;

use super::Reading;
use super::overlap::{overlap, same_amqp, same_mqtt};
use crate::config::node::Node;
use crate::config::{Bus, Channel, Direction, Route, RouteTarget};
use crate::router::{Pattern, Segment};

/// What a broker is told by: two addresses meet where one message could have both.
#[derive(Clone)]
enum Address<'a> {
    /// A bus and a topic filter.
    Mqtt(&'a str, String),
    /// A bus, an exchange and a filter of routing keys.
    Amqp(&'a str, &'a str, String),
}

/// One step of the way: where it leads, and how.
struct Step {
    to: usize,
    how: String,
}

pub(super) fn check(
    reading: &mut Reading<'_>,
    buses: &[Bus],
    routes: &[Arc<Route>],
    channels: &[Arc<Channel>],
) {
    let into: Vec<_> = channels.iter().map(|channel| inward(channel)).collect();
    if into.iter().all(Vec::is_empty) {
        return;
    }
    let broker = Brokers(buses);
    let reached = |from: &Address<'_>| {
        let meets = |list: &Vec<Address<'_>>| list.iter().any(|one| broker.meet(from, one));
        let all = into.iter().enumerate();
        all.filter(|(_, list)| meets(list))
            .map(|(to, _)| to)
            .collect::<Vec<_>>()
    };
    // The routes that lead to a channel at all; mostly none.
    let asking: Vec<_> = routes
        .iter()
        .filter_map(|route| {
            let address = target(route)?;
            let to = reached(&address);
            (!to.is_empty()).then_some((route, address, to))
        })
        .collect();
    let steps: Vec<Vec<Step>> = channels
        .iter()
        .enumerate()
        .map(|(index, channel)| {
            let mut steps = Vec::new();
            for address in outward(channel) {
                let to = reached(&address).into_iter().filter(|to| *to != index);
                let how = address.shown();
                steps.extend(to.map(|to| Step {
                    to,
                    how: how.clone(),
                }));
            }
            let Some(method) = called(channel) else {
                return steps;
            };
            for (route, address, to) in &asking {
                if takes(route, &method, routes) {
                    let how = format!("calls {}, which asks {}", route.pattern, address.shown());
                    steps.extend(to.iter().map(|to| Step {
                        to: *to,
                        how: how.clone(),
                    }));
                }
            }
            steps
        })
        .collect();
    if let Some(way) = round(&steps) {
        refuse(reading, channels, &way);
    }
}

fn refuse(reading: &mut Reading<'_>, channels: &[Arc<Channel>], way: &[(usize, &str)]) {
    let Some((first, _)) = way.first() else {
        return;
    };
    let name = channels[*first].pattern.as_str();
    let steps = way.iter().map(|(from, how)| {
        let from = &channels[*from].pattern;
        format!("{from} → {how} → ")
    });
    let message = format!(
        "events would go round: {}{name}; take one step out",
        steps.collect::<String>()
    );
    let place = place(reading.root, name);
    reading.problem(place, message);
}

fn place<'a>(root: &'a Node, name: &str) -> &'a Node {
    let names = super::rows(root, "channel").iter();
    let mut names = names.filter_map(|row| row.get("name"));
    names.find(|node| node.text() == Some(name)).unwrap_or(root)
}

/// The first way round, as the channels on it and how each leads to the next.
fn round(steps: &[Vec<Step>]) -> Option<Vec<(usize, &str)>> {
    let mut done = vec![false; steps.len()];
    let mut on_way = vec![false; steps.len()];
    for start in 0..steps.len() {
        // The way so far: a channel, and which of its steps is taken.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((at, next)) = way.last_mut() {
            if done[*at] {
                way.pop();
                continue;
            }
            on_way[*at] = true;
            let Some(step) = steps[*at].get(*next) else {
                (done[*at], on_way[*at]) = (true, false);
                way.pop();
                continue;
            };
            *next += 1;
            if on_way[step.to] {
                let begins = way.iter().position(|(at, _)| *at == step.to)?;
                let how = |(at, next): &(usize, usize)| (*at, steps[*at][next - 1].how.as_str());
                return Some(way[begins..].iter().map(how).collect());
            }
            way.push((step.to, 0));
        }
    }
    None
}

fn inward(channel: &Channel) -> Vec<Address<'_>> {
    addresses(channel, Direction::takes_in)
}

fn outward(channel: &Channel) -> Vec<Address<'_>> {
    addresses(channel, Direction::sends_out)
}

fn addresses(channel: &Channel, wanted: fn(Direction) -> bool) -> Vec<Address<'_>> {
    let pattern = &channel.pattern;
    let mqtt = channel.mqtt.iter().filter(|mqtt| wanted(mqtt.direction));
    let amqp = channel.amqp.iter().filter(|amqp| wanted(amqp.direction));
    let mqtt = mqtt.map(|mqtt| Address::Mqtt(&mqtt.bus, mqtt.topic.filter(pattern, '/')));
    let amqp = amqp.map(|amqp| {
        let keys = amqp.routing_key.filter(pattern, '.');
        Address::Amqp(&amqp.bus, &amqp.exchange, keys)
    });
    mqtt.chain(amqp).collect()
}

fn target(route: &Route) -> Option<Address<'_>> {
    match &route.target {
        RouteTarget::Mqtt { bus, topic, .. } => {
            Some(Address::Mqtt(bus, topic.filter(&route.pattern, '/')))
        }
        RouteTarget::Amqp {
            bus,
            exchange,
            routing_key,
            ..
        } => {
            let keys = routing_key.filter(&route.pattern, '.');
            Some(Address::Amqp(bus, exchange, keys))
        }
        _ => None,
    }
}

impl Address<'_> {
    fn shown(&self) -> String {
        match self {
            Address::Mqtt(bus, filter) => format!("{filter} on {bus}"),
            Address::Amqp(bus, exchange, keys) => format!("{exchange} {keys} on {bus}"),
        }
    }
}

struct Brokers<'a>(&'a [Bus]);

impl Brokers<'_> {
    fn bus(&self, name: &str) -> Option<&Bus> {
        self.0.iter().find(|bus| bus.name() == name)
    }

    /// Whether one message could have both addresses.
    fn meet(&self, one: &Address<'_>, other: &Address<'_>) -> bool {
        match (one, other) {
            (Address::Mqtt(a, filter), Address::Mqtt(b, takes)) => {
                overlap(filter, takes, '/')
                    && match (self.bus(a), self.bus(b)) {
                        (Some(Bus::Mqtt(a)), Some(Bus::Mqtt(b))) => same_mqtt(a, b),
                        _ => false,
                    }
            }
            (Address::Amqp(a, exchange, keys), Address::Amqp(b, other, takes)) => {
                exchange == other
                    && overlap(keys, takes, '.')
                    && match (self.bus(a), self.bus(b)) {
                        (Some(Bus::Amqp(a)), Some(Bus::Amqp(b))) => same_amqp(a, b),
                        _ => false,
                    }
            }
            _ => false,
        }
    }
}

/// The methods that a channel calls, as a pattern.
fn called(channel: &Channel) -> Option<Pattern> {
    let call = channel.call.as_ref()?;
    Pattern::parse(&as_pattern(&call.method.filter(&channel.pattern, '/'))).ok()
}

/// A filter with `+` and `#` as a pattern.
fn as_pattern(filter: &str) -> String {
    let levels = filter.split('/').enumerate();
    let levels = levels.map(|(index, level)| match level {
        "+" => format!("{{c{index}}}"),
        "#" => "{rest...}".to_owned(),
        literal => literal.to_owned(),
    });
    levels.collect::<Vec<_>>().join("/")
}

/// Whether some of these methods go to this route, and not all to more specific ones.
fn takes(route: &Route, methods: &Pattern, routes: &[Arc<Route>]) -> bool {
    let meets = overlap(&as_filter(&route.pattern), &as_filter(methods), '/');
    meets
        && !routes.iter().any(|other| {
            other.pattern.covers(methods)
                && route.pattern.covers(&other.pattern)
                && route.pattern != other.pattern
        })
}

fn as_filter(pattern: &Pattern) -> String {
    let levels = pattern.segments().iter().map(|segment| match segment {
        Segment::Literal(text) => text,
        Segment::One(_) => "+",
        Segment::Rest(_) => "#",
    });
    levels.collect::<Vec<_>>().join("/")
}

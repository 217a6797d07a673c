//! Where the events of a channel go and come from.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::call::Fault;
use crate::config::{Bus, Channel, Config, Direction};
use crate::router::{Captures, Place, Template, Trie, check_channel};

/// What the rows of channels say to one name.
pub(super) struct Explained {
    row: Arc<Channel>,
    captures: Captures,
    /// What each place is, and what stands in it.
    places: Result<Vec<(&'static str, String)>, Fault>,
}

impl Explained {
    /// `None` if no channel has this name.
    pub(super) fn of(config: &Config, name: &str) -> Option<Explained> {
        check_channel(name).ok()?;
        let mut rows = Trie::default();
        for row in &config.channels {
            rows.insert(&row.pattern, row.clone());
        }
        let row = rows.find(name)?.clone();
        let captures = row.pattern.captures(name);
        Some(Explained {
            places: places(&row, &captures).map(|mut places| {
                places.extend(scriptr(config, &row, name).map(|text| ("scriptr", text)));
                places
            }),
            captures,
            row,
        })
    }

    /// Why events cannot go all the ways that they should.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.places.as_ref().err()
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let mut shown = json!({ "name": self.row.pattern.as_str() });
        for (what, text) in self.places.iter().flatten() {
            shown[what] = text.as_str().into();
        }
        if let Err(fault) = &self.places {
            let kind = fault.kind.to_string();
            shown["fault"] = json!({ "kind": kind, "message": fault.message });
        }
        shown
    }

    /// For people.
    pub(super) fn write(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{name} is a channel of {}", self.row.pattern)?;
        if let Some(description) = &self.row.description {
            writeln!(f, "  {description}")?;
        }
        for (name, value) in self.captures.iter() {
            writeln!(f, "  {{{name}}} = {value}")?;
        }
        match &self.places {
            Ok(places) => {
                for (what, text) in places {
                    writeln!(f, "  {what}: {text}")?;
                }
                Ok(())
            }
            Err(fault) => writeln!(f, "  refused: {}: {}", fault.kind, fault.message),
        }
    }
}

fn places(row: &Channel, captures: &Captures) -> Result<Vec<(&'static str, String)>, Fault> {
    let put = |template: &Template, place| template.expand(captures, place);
    let mut places = Vec::new();
    if let Some(mqtt) = &row.mqtt {
        let topic = put(&mqtt.topic, Place::Topic)?;
        places.push((
            "mqtt",
            format!("{} {}: {topic}", way(mqtt.direction), mqtt.bus),
        ));
    }
    if let Some(amqp) = &row.amqp {
        let key = put(&amqp.routing_key, Place::RoutingKey)?;
        let way = way(amqp.direction);
        places.push((
            "amqp",
            format!("{way} {}: {} {key}", amqp.bus, amqp.exchange),
        ));
    }
    if let Some(history) = &row.history {
        let (count, age, bytes) = (history.count, history.age, history.bytes);
        places.push(("history", format!("{count} events, {age:?}, {bytes} bytes")));
    }
    if let Some(call) = &row.call {
        let method = put(&call.method, Place::Name)?;
        places.push(("call", format!("{method} as {}", call.caller)));
    }
    Ok(places)
}

/// scriptr's addresses of a channel.
fn scriptr(config: &Config, row: &Channel, name: &str) -> Option<String> {
    let addresses = config.buses.iter().filter_map(|bus| {
        let account = bus.common().scriptr.as_ref()?;
        let address = match bus {
            Bus::Mqtt(_) => account.message_topic(name),
            Bus::Amqp(_) => {
                let exchange = account.exchange(row.pattern.literal()?);
                format!("{exchange} {}", account.message_key(name))
            }
        };
        Some(format!("{}: {address}", bus.name()))
    });
    let addresses: Vec<_> = addresses.collect();
    (!addresses.is_empty()).then(|| addresses.join(", "))
}

fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "from",
        Direction::Out => "to",
        Direction::Both => "from and to",
    }
}

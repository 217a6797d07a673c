//! `[bus.NAME]` tables.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{Reading, count, names_token, text};
use crate::auth::Secret;
use crate::config::node::{Node, Value};
use crate::config::{Account, AmqpBus, Bus, BusCommon, Identity, MqttBus, MqttProtocol, secret};

const KINDS: [&str; 2] = ["MQTT", "AMQP"];
const MQTT_KEYS: [&str; 1] = ["protocol"];
const AMQP_KEYS: [&str; 2] = ["reply_queues", "prefetch"];

pub(super) fn buses(reading: &mut Reading<'_>) -> Vec<Bus> {
    let root = reading.root;
    let Some(Value::Table(table)) = root.get("bus").map(|node| &node.value) else {
        return Vec::new();
    };
    table
        .iter()
        .filter_map(|(name, (_, node))| bus(reading, name, node))
        .collect()
}

fn bus(reading: &mut Reading<'_>, name: &str, node: &Node) -> Option<Bus> {
    let common = common(reading, name, node);
    let place = node.get("url")?;
    let expanded = reading.keep(place, secret::expand(place.text()?, reading.environment))?;
    let url = reading.keep(
        place,
        Url::parse(&expanded).map_err(|why| format!("not a URL: {why}")),
    )?;
    let ca = match node.get("ca") {
        Some(ca) => Some(reading.file(ca)?),
        None => None,
    };
    let password = password(reading, node, &url);
    let scheme = url.scheme().to_owned();
    if url.host_str().is_none_or(str::is_empty) {
        reading.problem(place, "the URL has no host");
    }
    if url.query().is_some() || url.fragment().is_some() {
        reading.problem(
            place,
            "the URL of a bus has neither ? nor #; options are keys here",
        );
    }
    let foreign: &[&str] = match scheme.as_str() {
        "mqtt" | "mqtts" => &AMQP_KEYS,
        "amqp" | "amqps" => &MQTT_KEYS,
        _ => {
            reading.problem(
                place,
                "a bus URL begins with mqtt://, mqtts://, amqp:// or amqps://",
            );
            return None;
        }
    };
    for key in foreign.iter().filter_map(|key| node.get(key)) {
        reading.problem(
            key,
            format!("this key does not belong to a bus with {scheme}://"),
        );
    }
    if scheme.starts_with("mqtt") {
        if !matches!(url.path(), "" | "/") {
            reading.problem(
                place,
                "an MQTT URL has no path; the topic prefix of calls is the key `calls`",
            );
        }
        mqtt(reading, node, common, &url, ca, password)
    } else {
        amqp(reading, node, common, url, ca, password)
    }
}

fn common(reading: &mut Reading<'_>, name: &str, node: &Node) -> BusCommon {
    if let Err(why) = crate::router::check_segment(name) {
        reading.problem(node, format!("bus name: {why}"));
    }
    let caller = text(node, "caller").map(Arc::<str>::from);
    if let (Some(place), Some(name)) = (node.get("caller"), &caller)
        && !names_token(reading.root, name)
    {
        reading.problem(place, format!("there is no token {name:?}"));
    }
    let identity = match text(node, "identity") {
        Some("user_id") => Identity::UserId,
        Some("none") => Identity::None,
        _ => Identity::Token,
    };
    if let Some(place) = node.get("identity")
        && identity == Identity::None
        && caller.is_none()
    {
        reading.problem(
            place,
            "with \"none\" everyone is `caller`; name a token row there",
        );
    }
    let scriptr = node
        .get("scriptr")
        .and_then(|place| reading.keep(place, Account::parse(place.text()?)));
    BusCommon {
        name: name.into(),
        caller,
        identity,
        scriptr,
    }
}

/// From the URL, `password` or `password_file`; only one of them.
fn password(reading: &mut Reading<'_>, node: &Node, url: &Url) -> Option<Secret> {
    let in_url = url.password().map(|text| Secret::new(decoded(text)));
    let given = [node.get("password"), node.get("password_file")];
    let count = given.iter().flatten().count() + usize::from(in_url.is_some());
    if count > 1 {
        let place = given.iter().flatten().next().unwrap_or(&node);
        reading.problem(
            place,
            "the password is given twice: in the URL, `password` or `password_file`",
        );
    }
    let result = match given {
        [Some(text), _] => secret::from_text(text, reading.environment),
        [None, Some(file)] => {
            secret::from_file(file, &reading.directory(file), reading.environment)
        }
        [None, None] => return in_url,
    };
    result
        .map_err(|problem| reading.problems.push(problem))
        .ok()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn mqtt(
    reading: &mut Reading<'_>,
    node: &Node,
    common: BusCommon,
    url: &Url,
    ca: Option<std::path::PathBuf>,
    password: Option<Secret>,
) -> Option<Bus> {
    if common.identity == Identity::UserId {
        let place = node.get("identity").unwrap_or(node);
        reading.problem(
            place,
            "MQTT brokers tell no verified user; identity is token or none",
        );
    }
    if let Some(place) = node.get("scriptr")
        && count(node, "protocol") == Some(4)
    {
        reading.problem(
            place,
            "events go both ways there, and MQTT 3.1.1 has no place for the mark that keeps them \
             from going round; leave `protocol` at 5, devices may speak 3.1.1 all the same",
        );
    }
    let tls = url.scheme() == "mqtts";
    let login = match (url.username(), password) {
        ("", None) => None,
        (user, password) => Some((decoded(user), password.unwrap_or_else(|| Secret::new("")))),
    };
    let calls = text(node, "calls").unwrap_or("callway/call");
    if let Some(place) = node
        .get("calls")
        .filter(|_| !calls.is_empty() && !is_topic(calls))
    {
        reading.problem(place, "a topic prefix has no wildcard and no empty level");
    }
    let reply_topics = filters(reading, node, &["callway/reply/#"]);
    Some(Bus::Mqtt(Arc::new(MqttBus {
        common,
        host: url.host_str()?.trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(if tls { 8883 } else { 1883 }),
        tls,
        ca,
        login,
        protocol: if count(node, "protocol") == Some(4) {
            MqttProtocol::V4
        } else {
            MqttProtocol::V5
        },
        calls: Some(calls.to_owned()).filter(|calls| !calls.is_empty()),
        reply_topics,
    })))
}

fn amqp(
    reading: &mut Reading<'_>,
    node: &Node,
    common: BusCommon,
    mut url: Url,
    ca: Option<std::path::PathBuf>,
    password: Option<Secret>,
) -> Option<Bus> {
    let user = match url.username() {
        "" => "guest".to_owned(),
        user => decoded(user),
    };
    let guest = user == "guest";
    let password = password.unwrap_or_else(|| Secret::new(if guest { "guest" } else { "" }));
    // What is logged and shown must not hold the login; only URLs without a host refuse this.
    if url.set_password(None).and(url.set_username("")).is_err() {
        return None;
    }
    let calls = text(node, "calls").unwrap_or("callway.calls");
    let queues = node.get("reply_queues");
    let reply_queues: Vec<String> = match queues {
        Some(list) => list
            .list()
            .iter()
            .filter_map(|node| node.text().map(str::to_owned))
            .collect(),
        None => ["amq.rabbitmq.reply-to.*", "amq.gen-*", "callway.reply.*"]
            .map(str::to_owned)
            .into(),
    };
    for place in queues.map_or(&[][..], Node::list) {
        let text = place.text().unwrap_or_default();
        let (prefix, wildcard) = text
            .strip_suffix('*')
            .map_or((text, false), |prefix| (prefix, true));
        if prefix.contains('*') || text.is_empty() {
            reading.problem(place, "a queue name; * stands at the end only");
        } else if !calls.is_empty() && (calls == prefix || (wildcard && calls.starts_with(prefix)))
        {
            reading.problem(
                place,
                format!("replies would be taken for calls: this names the queue {calls}"),
            );
        }
    }
    Some(Bus::Amqp(Arc::new(AmqpBus {
        common,
        url,
        ca,
        login: (user, password),
        calls: Some(calls.to_owned()).filter(|calls| !calls.is_empty()),
        reply_queues,
        reply_topics: filters(reading, node, &[]),
        prefetch: count(node, "prefetch")
            .and_then(|n| u16::try_from(n).ok())
            .unwrap_or(256),
    })))
}

fn filters(reading: &mut Reading<'_>, node: &Node, default: &[&str]) -> Vec<String> {
    let Some(list) = node.get("reply_topics") else {
        return default.iter().map(|text| (*text).to_owned()).collect();
    };
    for place in list.list() {
        if !place.text().is_some_and(is_filter) {
            reading.problem(
                place,
                "not a topic filter: + and # fill a level, # stands at the end",
            );
        }
    }
    list.list()
        .iter()
        .filter_map(|node| node.text().map(str::to_owned))
        .collect()
}

/// Whether a text is a topic without wildcards and empty levels (MQTT 5, section 4.7).
pub(super) fn is_topic(text: &str) -> bool {
    text.len() <= 65_535
        && text
            .split('/')
            .all(|level| !level.is_empty() && !level.contains(['+', '#', '\0']))
}

/// Whether a text is a topic filter (MQTT 5, section 4.7.1).
fn is_filter(text: &str) -> bool {
    let levels: Vec<_> = text.split('/').collect();
    let last = levels.len() - 1;
    !text.is_empty()
        && levels
            .iter()
            .enumerate()
            .all(|(index, level)| match *level {
                "#" => index == last,
                "+" => true,
                level => !level.contains(['+', '#', '\0']),
            })
}

/// The MQTT bus that the key `bus` of a table names.
pub(super) fn mqtt_named<'a>(
    reading: &mut Reading<'_>,
    node: &Node,
    buses: &'a [Bus],
) -> Option<&'a Arc<MqttBus>> {
    let name = node.get("bus")?.text()?;
    let found = buses.iter().find_map(|bus| match bus {
        Bus::Mqtt(bus) if *bus.common.name == *name => Some(bus),
        _ => None,
    });
    if found.is_none() {
        refuse_bus(reading, node.get("bus")?, name, "MQTT");
    }
    found
}

/// The AMQP bus that the key `bus` of a table names.
pub(super) fn amqp_named<'a>(
    reading: &mut Reading<'_>,
    node: &Node,
    buses: &'a [Bus],
) -> Option<&'a Arc<AmqpBus>> {
    let name = node.get("bus")?.text()?;
    let found = buses.iter().find_map(|bus| match bus {
        Bus::Amqp(bus) if *bus.common.name == *name => Some(bus),
        _ => None,
    });
    if found.is_none() {
        refuse_bus(reading, node.get("bus")?, name, "AMQP");
    }
    found
}

/// The key `declare` of a table that names an exchange.
pub(super) fn declared(node: &Node) -> Option<&'static str> {
    let wanted = text(node, "declare")?;
    ["topic", "direct", "fanout"]
        .into_iter()
        .find(|kind| *kind == wanted)
}

/// Says why a bus is not to be had. One that is there but wrong was refused at its own place.
fn refuse_bus(reading: &mut Reading<'_>, place: &Node, name: &str, kind: &str) {
    let bus = reading.root.get("bus").and_then(|table| table.get(name));
    let Some(bus) = bus else {
        let message =
            format!("there is no {kind} bus {name:?}; it would be the table [bus.{name}]");
        return reading.problem(place, message);
    };
    let scheme = text(bus, "url").and_then(|url| url.split_once("://"));
    let other = scheme.map(|(scheme, _)| scheme.trim_end_matches('s').to_ascii_uppercase());
    if let Some(other) = other.filter(|other| other != kind && KINDS.contains(&other.as_str())) {
        reading.problem(
            place,
            format!("the bus {name:?} is one of {other}, not of {kind}"),
        );
    }
}

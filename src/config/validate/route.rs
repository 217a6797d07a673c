//! `[[route]]` rows.

use std::collections::HashMap;
use std::sync::Arc;

use url::Url;

use super::bus::{amqp_named, declared, is_topic, mqtt_named};
use super::{Reading, count, duration, flag, rows, shape_of, size, template, text};
use crate::config::node::{Node, Origin};
use crate::config::report::Problem;
use crate::config::{
    Bus, Limits, MqttProtocol, Retry, Route, RouteTarget, Schema, Scripts, values,
};
use crate::router::Pattern;

const TARGETS: [&str; 5] = ["script", "mqtt", "amqp", "worker", "http"];

pub(super) fn routes(
    reading: &mut Reading<'_>,
    scripts: &Scripts,
    buses: &[Bus],
    limits: &Limits,
) -> Vec<Arc<Route>> {
    let root = reading.root;
    let mut routes = Vec::new();
    // Keyed by the pattern without the names of its captures: equal keys take equal names.
    let mut seen: HashMap<String, Origin> = HashMap::new();
    for row in rows(root, "route") {
        let Some(route) = route(reading, row, scripts, buses, limits) else {
            continue;
        };
        let place = row.get("method").unwrap_or(row);
        if let Some(first) = seen.insert(shape_of(&route.pattern), place.origin.clone()) {
            let problem = Problem::new(place.origin.clone(), "two routes take the same methods");
            reading.problems.push(problem.and(first, "the first one"));
        }
        routes.push(Arc::new(route));
    }
    routes
}

fn route(
    reading: &mut Reading<'_>,
    row: &Node,
    scripts: &Scripts,
    buses: &[Bus],
    limits: &Limits,
) -> Option<Route> {
    let place = row.get("method")?;
    let pattern = reading.keep(place, Pattern::parse(place.text()?));
    let target = target(reading, row, pattern.as_ref(), scripts, buses);
    let concurrency = count(row, "concurrency");
    if let Some(queue) = row.get("queue").filter(|_| concurrency.is_none()) {
        reading.problem(
            queue,
            "`queue` is the waiting room of `concurrency`; set that too",
        );
    }
    if let Some(place) = row
        .get("max_params")
        .filter(|_| size(row, "max_params") == Some(0))
    {
        reading.problem(place, "`max_params` must be more than 0");
    }
    let route = Route {
        timeout: duration(row, "timeout"),
        retry: row.get("retry").map(retry),
        rate: text(row, "rate").and_then(|text| values::rate(text).ok()),
        concurrency,
        queue: count(row, "queue").unwrap_or(0),
        max_params: size(row, "max_params").unwrap_or(limits.params),
        schema: schemas(reading, row),
        description: text(row, "description").map(str::to_owned),
        get: flag(row, "get", false),
        one_way: flag(row, "one_way", false),
        pattern: pattern?,
        target: target?,
    };
    if let Some(timeout) = route.timeout {
        let place = row.get("timeout").unwrap_or(row);
        if timeout.is_zero() {
            reading.problem(place, "`timeout` must be longer than nothing");
        } else if timeout > limits.max_timeout {
            reading.problem(place, "`timeout` is longer than limits.max_timeout");
        }
    }
    Some(route)
}

fn retry(node: &Node) -> Retry {
    Retry {
        attempts: count(node, "attempts")
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1),
        backoff: duration(node, "backoff").unwrap_or(std::time::Duration::from_millis(100)),
    }
}

fn target(
    reading: &mut Reading<'_>,
    row: &Node,
    pattern: Option<&Pattern>,
    scripts: &Scripts,
    buses: &[Bus],
) -> Option<RouteTarget> {
    let given: Vec<_> = TARGETS
        .iter()
        .filter_map(|key| Some((*key, row.get(key)?)))
        .collect();
    let (key, node) = match given[..] {
        [one] => one,
        [] => {
            reading.problem(
                row,
                format!("a route needs a target: one of {}", TARGETS.join(", ")),
            );
            return None;
        }
        [_, (key, node), ..] => {
            reading.problem(
                node,
                format!("a route has one target; `{key}` is the second one"),
            );
            return None;
        }
    };
    match key {
        "script" => script(reading, node, pattern, scripts),
        "mqtt" => mqtt(reading, node, pattern, buses),
        "amqp" => amqp(reading, node, pattern, buses),
        "http" => http(reading, node, pattern),
        _ => Some(RouteTarget::Worker),
    }
}

fn script(
    reading: &mut Reading<'_>,
    node: &Node,
    pattern: Option<&Pattern>,
    scripts: &Scripts,
) -> Option<RouteTarget> {
    let path = template(reading, node, pattern)?;
    let text = path.as_str();
    let feature = match text.rsplit_once('.') {
        Some((_, "js")) => cfg!(feature = "js"),
        Some((_, "lua")) => cfg!(feature = "lua"),
        _ => {
            reading.problem(node, "a script ends in .js or .lua");
            return None;
        }
    };
    if !feature {
        reading.problem(node, "this callway was built without that script language");
        return None;
    }
    if text.starts_with('/') || text.split('/').any(|segment| segment == "..") {
        reading.problem(
            node,
            "a script path is relative to scripts.directory and stays inside",
        );
        return None;
    }
    if path.captures().next().is_none() {
        let file = scripts.directory.join(text);
        match file.canonicalize() {
            Ok(real) if !real.starts_with(&scripts.directory) => {
                reading.problem(
                    node,
                    format!("{} leads out of scripts.directory", file.display()),
                );
            }
            Ok(_) => {}
            Err(error) => reading.problem(node, format!("cannot read {}: {error}", file.display())),
        }
    }
    Some(RouteTarget::Script { path })
}

fn mqtt(
    reading: &mut Reading<'_>,
    node: &Node,
    pattern: Option<&Pattern>,
    buses: &[Bus],
) -> Option<RouteTarget> {
    let topic_node = node.get("topic")?;
    let topic = template(reading, topic_node, pattern)?;
    if !is_topic(&topic.with_wildcard("x")) {
        reading.problem(topic_node, "a topic has no wildcard and no empty level");
    }
    let bus = mqtt_named(reading, node, buses)?;
    let old = bus.protocol == MqttProtocol::V4;
    if old && text(node, "format") == Some("params") {
        let place = node.get("format").unwrap_or(node);
        reading.problem(
            place,
            "MQTT 3.1.1 has no reply address of its own; its format is jsonrpc",
        );
    }
    Some(RouteTarget::Mqtt {
        bus: bus.common.name.clone(),
        topic,
        qos: count(node, "qos")
            .and_then(|qos| u8::try_from(qos).ok())
            .unwrap_or(0),
        jsonrpc: old || text(node, "format") == Some("jsonrpc"),
    })
}

fn amqp(
    reading: &mut Reading<'_>,
    node: &Node,
    pattern: Option<&Pattern>,
    buses: &[Bus],
) -> Option<RouteTarget> {
    let key_node = node.get("routing_key")?;
    let routing_key = template(reading, key_node, pattern)?;
    if routing_key.with_wildcard("x").len() > 255 {
        reading.problem(key_node, "a routing key has at most 255 bytes");
    }
    let bus = amqp_named(reading, node, buses)?;
    let exchange = text(node, "exchange").unwrap_or_default().to_owned();
    let declare = declared(node);
    if let Some(place) = node.get("declare").filter(|_| exchange.is_empty()) {
        reading.problem(
            place,
            "the default exchange is always there and cannot be declared",
        );
    }
    Some(RouteTarget::Amqp {
        bus: bus.common.name.clone(),
        exchange,
        routing_key,
        declare,
    })
}

fn http(reading: &mut Reading<'_>, node: &Node, pattern: Option<&Pattern>) -> Option<RouteTarget> {
    let place = node.get("url")?;
    let url = template(reading, place, pattern)?;
    let host_is_fixed = url
        .as_str()
        .split_once("://")
        .is_some_and(|(_, rest)| !rest.split('/').next().unwrap_or_default().contains('{'));
    match Url::parse(&url.with_wildcard("x")) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && host_is_fixed => {}
        Ok(_) if !host_is_fixed => reading.problem(
            place,
            "captures stand in the path of a URL, not in its host",
        ),
        Ok(_) => reading.problem(place, "an HTTP service has an http:// or https:// URL"),
        Err(why) => reading.problem(place, format!("not a URL: {why}")),
    }
    Some(RouteTarget::Http {
        url,
        verb: text(node, "verb").unwrap_or("POST").to_owned(),
    })
}

fn schemas(reading: &mut Reading<'_>, row: &Node) -> Schema {
    let Some(node) = row.get("schema") else {
        return Schema::default();
    };
    let mut compile = |key| {
        let node = node.get(key)?;
        let compiled = jsonschema::validator_for(&node.to_json())
            .map_err(|why| format!("not a JSON Schema: {why}"));
        reading.keep(node, compiled).map(Arc::new)
    };
    Schema {
        params: compile("params"),
        result: compile("result"),
    }
}

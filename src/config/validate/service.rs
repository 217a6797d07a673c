//! `[[service]]` rows.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Reading, rows, text, url_rule};
use crate::auth::{Token, Verb};
use crate::config::node::Node;
use crate::config::report::Problem;
use crate::config::{Channel, Scripts, Service};
use crate::router::check_segment;

/// What a service may connect by.
const SCHEMES: [&str; 4] = ["ws", "wss", "http", "https"];

pub(super) fn services(
    reading: &mut Reading<'_>,
    scripts: &Scripts,
    tokens: &[Token],
    channels: &[Arc<Channel>],
) -> Vec<Arc<Service>> {
    let root = reading.root;
    let mut services = Vec::new();
    let mut seen = HashMap::new();
    for row in rows(root, "service") {
        let Some(service) = service(reading, row, scripts, tokens, channels) else {
            continue;
        };
        let place = row.get("name").unwrap_or(row);
        if let Some(first) = seen.insert(service.name.clone(), place.origin.clone()) {
            let message = format!("two services with the name {}", service.name);
            let problem = Problem::new(place.origin.clone(), message);
            reading.problems.push(problem.and(first, "the first one"));
        }
        services.push(Arc::new(service));
    }
    services
}

fn service(
    reading: &mut Reading<'_>,
    row: &Node,
    scripts: &Scripts,
    tokens: &[Token],
    channels: &[Arc<Channel>],
) -> Option<Service> {
    let name = text(row, "name")?;
    let place = row.get("name").unwrap_or(row);
    let named = check_segment(name).map_err(|why| format!("service name: {why}"));
    reading.keep(place, named)?;
    let script = script(reading, row.get("script")?, scripts)?;
    let place = row.get("token")?;
    let token = tokens
        .iter()
        .find(|token| Some(&*token.name) == place.text());
    // A row with another fault is there all the same, and said to be wrong where it stands.
    if !super::names_token(reading.root, place.text()?) {
        let message = format!("there is no token {:?}", place.text()?);
        reading.problem(place, message);
    }
    let chat = match row.get("chat") {
        Some(node) => Some(chat(reading, node, token?, channels)?),
        None => None,
    };
    let rules = row.get("allow_urls").map_or(&[][..], Node::list).iter();
    let rules = rules.filter_map(|node| url_rule(reading, node, &SCHEMES));
    Some(Service {
        allow_urls: rules.collect(),
        name: name.into(),
        script,
        token: token?.name.clone(),
        chat,
    })
}

fn script(reading: &mut Reading<'_>, node: &Node, scripts: &Scripts) -> Option<Arc<str>> {
    let path = node.text()?;
    if !path.ends_with(".lua") {
        reading.problem(node, "the script of a service is Lua and ends in .lua");
        return None;
    }
    if !cfg!(feature = "lua") {
        reading.problem(node, "this callway was built without Lua");
        return None;
    }
    let file = scripts.directory.join(path);
    match file.canonicalize() {
        Ok(real) if !real.starts_with(&scripts.directory) => {
            let message = format!("{} leads out of scripts.directory", file.display());
            reading.problem(node, message);
        }
        Ok(_) => {}
        Err(error) => reading.problem(node, format!("cannot read {}: {error}", file.display())),
    }
    Some(path.into())
}

/// One channel that a row takes and the service's token may subscribe to.
fn chat(
    reading: &mut Reading<'_>,
    node: &Node,
    token: &Token,
    channels: &[Arc<Channel>],
) -> Option<Arc<str>> {
    let name = node.text()?;
    let known = crate::router::check_channel(name).map_err(|fault| fault.message);
    reading.keep(node, known)?;
    if !channels.iter().any(|row| row.pattern.matches(name)) {
        reading.problem(node, "no [[channel]] row takes this name");
    } else if !token.grants.permit(Verb::Subscribe, name) {
        let message = format!(
            "the token {} may not subscribe to {name:?}; add it to the token's `subscribe`",
            token.name
        );
        reading.problem(node, message);
    }
    Some(name.into())
}

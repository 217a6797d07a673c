//! The options of a `flow` endpoint.

use std::time::Duration;

use url::Url;

use super::{Reading, duration, flag, has_row, names_token, rows, text};
use crate::auth::Secret;
use crate::config::node::Node;
use crate::config::{FlowClient, FlowOptions, Webhook, secret};
use crate::router::{Pattern, Segment, check_name};

/// As the original: a client that pings every 30 s stays.
const IDLE: Duration = Duration::from_secs(50);

pub(super) fn options(
    reading: &mut Reading<'_>,
    node: &Node,
    endpoint: &str,
) -> Option<FlowOptions> {
    let clients = clients(reading, node);
    let channel = channel(reading, node);
    let place = node.get("call").unwrap_or(node);
    let call = text(node, "call").unwrap_or("flow/message");
    reading.keep(place, check_name(call).map_err(|fault| fault.message))?;
    let idle = duration(node, "idle").unwrap_or(IDLE);
    if idle.is_zero() {
        let place = node.get("idle").unwrap_or(node);
        reading.problem(place, "a socket that may not be silent cannot be used");
    }
    Some(FlowOptions {
        clients,
        channel: channel?,
        call: call.into(),
        nonce: flag(node, "nonce", false),
        idle,
        webhook: match node.get("webhook") {
            Some(hook) => Some(webhook(reading, hook, endpoint)?),
            None => None,
        },
    })
}

fn clients(reading: &mut Reading<'_>, node: &Node) -> Vec<FlowClient> {
    let mut clients: Vec<FlowClient> = Vec::new();
    let rows = node.get("clients").map_or(&[][..], Node::list);
    if rows.is_empty() {
        let message = "a flow endpoint needs clients = [{ id = \"…\", token = \"NAME\" }]";
        reading.problem(node, message);
    }
    for row in rows {
        let (Some(id), Some(token)) = (text(row, "id"), text(row, "token")) else {
            continue;
        };
        if id.is_empty() || clients.iter().any(|client| *client.id == *id) {
            let message = format!("the client {id:?} stands here already, or has no name");
            reading.problem(row, message);
        }
        if !names_token(reading.root, token) {
            reading.problem(row, format!("there is no token {token:?}"));
        }
        clients.push(FlowClient {
            id: id.into(),
            token: token.into(),
        });
    }
    clients
}

/// Threads need a row, or every message would be refused.
fn channel(reading: &mut Reading<'_>, node: &Node) -> Option<Pattern> {
    let place = node.get("channel").unwrap_or(node);
    let written = text(node, "channel").unwrap_or("flow/{threadId}");
    let channel = reading.keep(place, Pattern::parse(written))?;
    let names: Vec<_> = channel.capture_names().map(|name| &**name).collect();
    let one = |segment: &Segment| matches!(segment, Segment::One(_));
    if names != ["threadId"] || !channel.segments().iter().any(one) {
        reading.problem(
            place,
            "`channel` holds {threadId} once, such as \"flow/{threadId}\"",
        );
        return None;
    }
    if !has_row(reading.root, &channel) {
        let message = format!(
            "no [[channel]] row takes the threads {channel}; add one with that name and a history"
        );
        reading.problem(place, message);
    }
    Some(channel)
}

fn webhook(reading: &mut Reading<'_>, node: &Node, endpoint: &str) -> Option<Webhook> {
    let place = node.get("url")?;
    let written = secret::expand(place.text()?, reading.environment);
    let written = reading.keep(place, written)?;
    let url = Url::parse(&written).map_err(|why| format!("not a URL: {why}"));
    let url = reading.keep(place, url)?;
    let fits = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if !fits || !url.username().is_empty() || url.password().is_some() {
        let message =
            "a webhook is an http:// or https:// URL with a host; a credential is `token`";
        reading.problem(place, message);
    }
    Some(Webhook {
        queue: format!("webhook{endpoint}").into(),
        url,
        token: token(reading, node),
    })
}

fn token(reading: &mut Reading<'_>, node: &Node) -> Option<Secret> {
    let read = match (node.get("token"), node.get("token_file")) {
        (None, None) => return None,
        (Some(_), Some(file)) => {
            reading.problem(file, "token and token_file are two ways to say one thing");
            return None;
        }
        (Some(token), None) => secret::from_text(token, reading.environment),
        (None, Some(file)) => {
            let directory = reading.directory(file);
            secret::from_file(file, &directory, reading.environment)
        }
    };
    read.map_err(|problem| reading.problems.push(problem)).ok()
}

/// Two webhooks would share a queue, of which each took a part.
pub(super) fn refuse_shared_queues(reading: &mut Reading<'_>) {
    let mut taken: Vec<(&str, &Node)> = Vec::new();
    let root = reading.root;
    let endpoints = rows(root, "listen")
        .iter()
        .flat_map(|row| row.get("endpoint").map_or(&[][..], Node::list));
    for endpoint in endpoints {
        let (Some(path), Some(hook)) = (text(endpoint, "path"), endpoint.get("webhook")) else {
            continue;
        };
        if taken.iter().any(|(other, _)| *other == path) {
            let message = format!("another endpoint at {path} has a webhook; only one may");
            reading.problem(hook, message);
        }
        taken.push((path, hook));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Dialect, parse};

    fn read(options: &str, rows: &str) -> Result<crate::config::Config, String> {
        let toml = format!(
            r#"
            [[listen]]
            address = "127.0.0.1:1"
            [[listen.endpoint]]
            path = "/"
            dialect = "flow"
            {options}
            [[token]]
            name = "web"
            sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
            {rows}
            "#
        );
        parse(&toml, Path::new("/nonexistent")).map_err(|errors| errors.to_string())
    }

    const CLIENT: &str = r#"clients = [{ id = "c", token = "web" }]"#;
    const ROW: &str = "[[channel]]\nname = \"flow/{x}\"\n";

    #[test]
    fn what_cannot_work_is_said_at_load() {
        let with = |more: &str| format!("{CLIENT}\n{more}");
        for (options, rows, says) in [
            (String::new(), ROW, "needs clients"),
            (with(""), "", "no [[channel]] row takes the threads"),
            (with(r#"channel = "a/{x}""#), ROW, "holds {threadId} once"),
            (
                with(r#"channel = "a/{threadId...}""#),
                ROW,
                "holds {threadId} once",
            ),
            (with(r#"call = "a//b""#), ROW, "segment is empty"),
            (with(r#"idle = "0s""#), ROW, "may not be silent"),
            (
                with(r#"webhook = { url = "ftp://h/" }"#),
                ROW,
                "http:// or https://",
            ),
            (
                with(r#"webhook = { url = "https://u:p@h/" }"#),
                ROW,
                "a credential is `token`",
            ),
            (with(r#"webhook = { }"#), ROW, "`url` is missing"),
            (
                with("ordered = true"),
                ROW,
                "belongs to the dialect scriptr",
            ),
            (
                r#"clients = [{ id = "c", token = "web" }, { id = "c", token = "nobody" }]"#.into(),
                ROW,
                "there is no token \"nobody\"",
            ),
        ] {
            let said = read(&options, rows).expect_err(says);
            assert!(said.contains(says), "{options}: {said}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_original() {
        let config = read(CLIENT, ROW).unwrap();
        let Dialect::Flow(options) = &config.listeners[0].endpoints[0].dialect else {
            panic!("another dialect");
        };
        assert_eq!(options.channel.as_str(), "flow/{threadId}");
        assert_eq!((&*options.call, options.nonce), ("flow/message", false));
        assert_eq!(options.idle.as_secs(), 50);
        assert!(options.webhook.is_none());
    }
}

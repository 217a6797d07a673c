//! `callway routes`: the routing table, or which of its rows takes a name and why.

mod explain;

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;

use self::explain::Explained;
use super::files::ConfigArgs;
use super::table::table;
use crate::config::{Config, Route, RouteTarget, mask_urls};

/// What `callway routes` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct RoutesArgs {
    /// A method: show the row that takes it, the rows it beats, and where the call would go
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl RoutesArgs {
    /// Prints it. Nothing is connected.
    pub fn run(self) -> ExitCode {
        let config = match self.config.load() {
            Ok(config) => config,
            Err(code) => return code,
        };
        let mut out = io::stdout().lock();
        let (code, written) = match &self.name {
            None => (0, write_table(&mut out, &config, self.json)),
            Some(name) => {
                let explained = Explained::of(&config, name);
                let written = match self.json {
                    true => writeln!(out, "{}", explained.to_json()),
                    false => write!(out, "{explained}"),
                };
                (explained.exit_code(), written)
            }
        };
        match written {
            Ok(()) => ExitCode::from(code),
            Err(_) => ExitCode::FAILURE, // nobody reads any more
        }
    }
}

fn write_table(out: &mut impl Write, config: &Config, as_json: bool) -> io::Result<()> {
    if as_json {
        let rows: Vec<_> = config.routes.iter().map(|route| row(route)).collect();
        return writeln!(out, "{}", json!(rows));
    }
    if config.routes.is_empty() {
        return writeln!(out, "there are no routes; a [[route]] row adds one");
    }
    let rows = config.routes.iter().map(|route| {
        [
            route.pattern.to_string(),
            route.target.kind().to_owned(),
            place(&route.target),
            route.description.clone().unwrap_or_default(),
        ]
    });
    let head = ["METHOD", "TARGET", "WHERE", "DESCRIPTION"];
    write!(out, "{}", table(head, rows))
}

/// Where the calls of a route go, captures and all.
fn place(target: &RouteTarget) -> String {
    match target {
        RouteTarget::Script { path } => path.to_string(),
        RouteTarget::Mqtt { bus, topic, .. } => format!("{bus}: {topic}"),
        RouteTarget::Amqp {
            bus,
            exchange,
            routing_key,
            ..
        } if exchange.is_empty() => format!("{bus}: {routing_key}"),
        RouteTarget::Amqp {
            bus,
            exchange,
            routing_key,
            ..
        } => format!("{bus}: {exchange} {routing_key}"),
        RouteTarget::Worker => String::new(),
        RouteTarget::Http { url, verb } => format!("{verb} {}", mask_urls(url.as_str())),
    }
}

fn row(route: &Route) -> serde_json::Value {
    json!({
        "method": route.pattern.as_str(),
        "target": route.target.kind(),
        "where": place(&route.target),
        "description": route.description,
    })
}

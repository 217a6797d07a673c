//! Why a name goes where it goes.

mod channel;

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::row;
use crate::call::{Fault, Kind};
use crate::cli::outcome::exit_code;
use crate::config::{Config, Route, RouteTarget, mask_urls};
use crate::router::{Captures, Pattern, Place, Segment, Template, Trie, check_name};

/// What the routing table says to one name.
pub struct Explained<'a> {
    name: &'a str,
    verdict: Result<Taken, Fault>,
    /// The channel of this name; a method may have the same.
    channel: Option<channel::Explained>,
}

/// The row that takes a name.
struct Taken {
    route: Arc<Route>,
    captures: Captures,
    /// Where the call goes, or why it is refused there: what each place is, and what stands in it.
    goes_to: Result<Vec<(&'static str, String)>, Fault>,
    /// The rows that would take it otherwise, most specific first.
    beaten: Vec<Arc<Route>>,
}

impl Explained<'_> {
    /// Asks the table as a call does.
    pub fn of<'a>(config: &Config, name: &'a str) -> Explained<'a> {
        Explained {
            name,
            verdict: check_name(name).and_then(|()| take(config, name)),
            channel: channel::Explained::of(config, name),
        }
    }

    /// As a call with that name would end, as far as the table decides it; or an event, if it is
    /// the name of a channel alone.
    pub fn exit_code(&self) -> u8 {
        let fault = match (&self.verdict, &self.channel) {
            (Ok(taken), _) => taken.goes_to.as_ref().err(),
            (Err(_), Some(channel)) => channel.fault(),
            (Err(fault), None) => Some(fault),
        };
        fault.map_or(0, |fault| exit_code(fault.kind))
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let mut shown = self.method_to_json();
        if let Some(channel) = &self.channel {
            shown["channel"] = channel.to_json();
        }
        shown
    }

    fn method_to_json(&self) -> Value {
        let fault =
            |fault: &Fault| json!({ "kind": fault.kind.to_string(), "message": fault.message });
        match &self.verdict {
            Err(_) if self.channel.is_some() => json!({ "name": self.name }),
            Err(error) => json!({ "name": self.name, "fault": fault(error) }),
            Ok(taken) => {
                let captures: serde_json::Map<_, _> = taken
                    .captures
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect();
                let beaten = taken.beaten.iter().map(|route| route.pattern.as_str());
                let mut shown = json!({
                    "name": self.name,
                    "route": row(&taken.route),
                    "captures": captures,
                    "beats": beaten.collect::<Vec<_>>(),
                });
                match &taken.goes_to {
                    Err(error) => shown["fault"] = fault(error),
                    Ok(places) => {
                        for (what, text) in places {
                            shown["to"][what] = text.as_str().into();
                        }
                    }
                }
                shown
            }
        }
    }
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.verdict, &self.channel) {
            (Ok(taken), _) => self.write_taken(taken, f)?,
            (Err(_), Some(_)) => {}
            (Err(fault), None) => {
                writeln!(f, "{}: {}: {}", self.name, fault.kind, fault.message)?;
            }
        }
        match &self.channel {
            Some(channel) => channel.write(self.name, f),
            None => Ok(()),
        }
    }
}

impl Explained<'_> {
    fn write_taken(&self, taken: &Taken, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = &taken.route.pattern;
        writeln!(f, "{} is taken by {pattern}", self.name)?;
        if let Some(description) = &taken.route.description {
            writeln!(f, "  {description}")?;
        }
        for (name, value) in taken.captures.iter() {
            writeln!(f, "  {{{name}}} = {value}")?;
        }
        writeln!(f, "  target: {}", taken.route.target.kind())?;
        match &taken.goes_to {
            Ok(places) => {
                for (what, text) in places {
                    writeln!(f, "  {what}: {text}")?;
                }
            }
            Err(fault) => writeln!(f, "  refused: {}: {}", fault.kind, fault.message)?,
        }
        for route in &taken.beaten {
            let reason = reason(pattern, &route.pattern);
            writeln!(f, "  beats {}: {reason}", route.pattern)?;
        }
        Ok(())
    }
}

fn take(config: &Config, name: &str) -> Result<Taken, Fault> {
    let mut trie = Trie::default();
    for route in &config.routes {
        trie.insert(&route.pattern, route.clone());
    }
    let mut rows: Vec<Arc<Route>> = Vec::new();
    trie.visit(name, &mut |route: &Arc<Route>| {
        rows.push(route.clone());
        false
    });
    let mut rows = rows.into_iter();
    let route = rows
        .next()
        .ok_or_else(|| Fault::new(Kind::MethodNotFound, "no route takes this name"))?;
    let captures = route.pattern.captures(name);
    Ok(Taken {
        goes_to: places(&route.target, &captures),
        beaten: rows.collect(),
        captures,
        route,
    })
}

fn places(target: &RouteTarget, captures: &Captures) -> Result<Vec<(&'static str, String)>, Fault> {
    let put = |template: &Template, place| template.expand(captures, place);
    Ok(match target {
        RouteTarget::Script { path } => vec![("script", put(path, Place::Path)?)],
        RouteTarget::Mqtt { bus, topic, .. } => vec![
            ("bus", bus.to_string()),
            ("topic", put(topic, Place::Topic)?),
        ],
        RouteTarget::Amqp {
            bus,
            exchange,
            routing_key,
            ..
        } => vec![
            ("bus", bus.to_string()),
            ("exchange", exchange.clone()),
            ("routing key", put(routing_key, Place::RoutingKey)?),
        ],
        RouteTarget::Worker => Vec::new(),
        RouteTarget::Http { url, verb } => {
            let url = mask_urls(&put(url, Place::Url)?);
            vec![("verb", verb.clone()), ("url", url)]
        }
    })
}

/// The first segment, from the left, in which one pattern is more specific than the other.
fn reason(winner: &Pattern, loser: &Pattern) -> String {
    let pairs = winner.segments().iter().zip(loser.segments());
    for (ours, theirs) in pairs {
        if rank(ours) < rank(theirs) {
            return format!("{} is more specific than {}", shown(ours), shown(theirs));
        }
    }
    "it is more specific".into()
}

fn rank(segment: &Segment) -> u8 {
    match segment {
        Segment::Literal(_) => 0,
        Segment::One(_) => 1,
        Segment::Rest(_) => 2,
    }
}

fn shown(segment: &Segment) -> String {
    match segment {
        Segment::Literal(text) => format!("the literal {text}"),
        Segment::One(name) => format!("{{{name}}}"),
        Segment::Rest(name) => format!("{{{name}...}}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    fn config() -> Config {
        let text = r#"
            [bus.field]
            url = "mqtt://h"
            [bus.office]
            url = "amqp://h"
            [[route]]
            method = "pumps/{rest...}"
            worker = {}
            [[route]]
            method = "pumps/{pump}/{verb}"
            mqtt = { bus = "field", topic = "p/{pump}/rpc/{verb}" }
            [[route]]
            method = "pumps/main/{verb}"
            amqp = { bus = "office", routing_key = "pump.{verb}" }
            [[route]]
            method = "web/{path...}"
            http = { url = "http://127.0.0.1:9/{path}" }
            [[channel]]
            name = "telemetry/{device}"
            mqtt = { bus = "field", topic = "devices/{device}/t", direction = "in" }
            amqp = { bus = "office", exchange = "t", routing_key = "d.{device}", direction = "out" }
            [[channel]]
            name = "web/{path...}"
            history = { count = 5 }
            [[route]]
            method = "locked/{path...}"
            http = { url = "https://me:secret@127.0.0.1/{path}" }
        "#;
        parse(text, Path::new("/nonexistent")).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn the_most_specific_row_takes_a_name_and_says_whom_it_beats() {
        let config = config();
        let shown = Explained::of(&config, "pumps/main/start").to_json();
        assert_eq!(shown["route"]["method"], "pumps/main/{verb}");
        assert_eq!(shown["captures"], json!({ "verb": "start" }));
        assert_eq!(shown["to"]["routing key"], "pump.start");
        let beaten = json!(["pumps/{pump}/{verb}", "pumps/{rest...}"]);
        assert_eq!(shown["beats"], beaten);
        let text = Explained::of(&config, "pumps/main/start").to_string();
        let why = "beats pumps/{pump}/{verb}: the literal main is more specific than {pump}";
        assert!(text.contains(why), "{text}");
    }

    #[test]
    fn the_place_is_the_one_that_a_call_goes_to() {
        let config = config();
        let to = |name: &str| Explained::of(&config, name).to_json()["to"].clone();
        assert_eq!(
            to("pumps/7/stop"),
            json!({ "bus": "field", "topic": "p/7/rpc/stop" })
        );
        assert_eq!(to("web/a b/c")["url"], "http://127.0.0.1:9/a%20b/c");
        assert_eq!(to("locked/a")["url"], "https://me:******@127.0.0.1/a");
    }

    #[test]
    fn a_channel_is_shown_with_its_ways() {
        let config = config();
        let explained = Explained::of(&config, "telemetry/7");
        let shown = explained.to_json();
        assert!(shown.get("fault").is_none(), "{shown}");
        assert_eq!(shown["channel"]["mqtt"], "from field: devices/7/t");
        assert_eq!(shown["channel"]["amqp"], "to office: t d.7");
        assert_eq!(explained.exit_code(), 0);
        let dotted = Explained::of(&config, "telemetry/a.b");
        assert_eq!(dotted.exit_code(), 65, "a routing key cannot hold it");
        let both = Explained::of(&config, "web/a").to_string();
        assert!(
            both.contains("taken by web") && both.contains("channel of web"),
            "{both}"
        );
    }

    #[test]
    fn what_is_refused_says_so_with_the_exit_code_of_a_call() {
        let config = config();
        for (name, kind, code) in [
            ("nobody", "method_not_found", 1),
            ("pumps//x", "invalid_request", 65),
            ("pumps/main/a.b", "invalid_request", 65),
        ] {
            let explained = Explained::of(&config, name);
            assert_eq!(explained.to_json()["fault"]["kind"], kind, "{name}");
            assert_eq!(explained.exit_code(), code, "{name}");
        }
    }
}

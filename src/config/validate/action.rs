//! The options of an endpoint with the dialect `action`.

use std::time::Duration;

use super::{Reading, duration, flag, text};
use crate::auth::Secret;
use crate::config::node::Node;
use crate::config::{ActionOptions, secret};
use crate::router::{Pattern, Segment, Template};

const METHODS: &str = "game/{action}";
const TOKEN_IDLE: Duration = Duration::from_secs(30 * 60);
const TOKEN_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

pub(super) fn options(reading: &mut Reading<'_>, node: &Node) -> Option<ActionOptions> {
    let place = node.get("methods").unwrap_or(node);
    let methods = text(node, "methods").unwrap_or(METHODS);
    let grant = reading.keep(place, Pattern::parse(methods))?;
    let one = |segment: &Segment| matches!(segment, Segment::One(name) if **name == *"action");
    let others = |segment: &Segment| !one(segment) && !matches!(segment, Segment::Literal(_));
    if !grant.segments().iter().any(one) || grant.segments().iter().any(others) {
        reading.problem(
            place,
            "`methods` holds {action} once, such as \"game/{action}\"",
        );
    }
    Some(ActionOptions {
        methods: reading.keep(place, Template::parse(methods))?,
        grant,
        api_key: api_key(reading, node),
        token_idle: lifetime(reading, node, "token_idle", TOKEN_IDLE),
        token_lifetime: lifetime(reading, node, "token_lifetime", TOKEN_LIFETIME),
        answer_unknown: flag(node, "answer_unknown", false),
        account: flag(node, "account", false),
    })
}

fn api_key(reading: &mut Reading<'_>, node: &Node) -> Option<Secret> {
    let (place, read) = match (node.get("api_key"), node.get("api_key_file")) {
        (None, None) => return None,
        (Some(_), Some(file)) => {
            reading.problem(file, "the key is given twice: `api_key` and `api_key_file`");
            return None;
        }
        (Some(text), None) => (text, secret::from_text(text, reading.environment)),
        (None, Some(file)) => {
            let directory = reading.directory(file);
            let read = secret::from_file(file, &directory, reading.environment);
            (file, read)
        }
    };
    let key = read
        .map_err(|problem| reading.problems.push(problem))
        .ok()?;
    if key.expose().is_empty() {
        reading.problem(place, "the key is empty, so nobody could register");
    }
    Some(key)
}

fn lifetime(reading: &mut Reading<'_>, node: &Node, key: &str, default: Duration) -> Duration {
    let given = duration(node, key);
    if given == Some(Duration::ZERO) {
        let place = node.get(key).unwrap_or(node);
        reading.problem(place, format!("`{key}` must be longer than nothing"));
    }
    given.unwrap_or(default)
}

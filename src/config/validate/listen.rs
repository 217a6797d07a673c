//! `[[listen]]` rows and their endpoints.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use url::Url;

use super::{Reading, action, flag, flow, mqtt, names_token, rows, talkee, text};
use crate::config::node::Node;
use crate::config::report::Problem;
use crate::config::{Admin, Dialect, Endpoint, Listener, Route, ScriptrOptions, Tls};
use crate::router::{Segment, Template};

/// The options of endpoints, and the dialects that have them.
const OPTIONS: [(&str, &[&str]); 24] = [
    ("anonymous", &["scriptr", "mqtt"]),
    ("scriptr", &["mqtt"]),
    ("keep_alive", &["mqtt"]),
    ("legacy_envelope", &["scriptr"]),
    ("ordered", &["scriptr"]),
    ("methods", &["scriptr", "action"]),
    ("api_key", &["action"]),
    ("api_key_file", &["action"]),
    ("token_idle", &["action"]),
    ("token_lifetime", &["action"]),
    ("answer_unknown", &["action"]),
    ("account", &["action"]),
    ("clients", &["flow"]),
    ("channel", &["flow", "talkee"]),
    ("call", &["flow"]),
    ("nonce", &["flow"]),
    ("idle", &["flow"]),
    ("webhook", &["flow"]),
    ("messages", &["talkee"]),
    ("anonymous_read", &["talkee"]),
    ("jwt_secret_file", &["talkee"]),
    ("users", &["talkee"]),
    ("session_expiry", &["mqtt"]),
    ("queue", &["mqtt"]),
];

pub(super) fn listeners(reading: &mut Reading<'_>, routes: &[Arc<Route>]) -> Vec<Listener> {
    let root = reading.root;
    rows(root, "listen")
        .iter()
        .filter_map(|row| listener(reading, row, routes))
        .collect()
}

/// No two sockets at one address; port 0 is another one each time.
pub(super) fn refuse_taken_addresses(reading: &mut Reading<'_>, admin: &Admin) {
    let root = reading.root;
    let of_admin = root.get("admin").and_then(|admin| admin.get("address"));
    let mut taken = Vec::new();
    if let Some(address) = admin.address {
        taken.push((address, of_admin));
    }
    for place in rows(root, "listen")
        .iter()
        .filter_map(|row| row.get("address"))
    {
        let Some(address) = place.text().and_then(|text| text.parse().ok()) else {
            continue;
        };
        let first = taken.iter().find(|(other, _)| *other == address);
        if let Some((_, first)) = first.filter(|_| address.port() != 0) {
            let mut problem = Problem::new(
                place.origin.clone(),
                format!("{address} is taken already; by [admin], or by another [[listen]]"),
            );
            if let Some(first) = first {
                problem = problem.and(first.origin.clone(), "the first one");
            }
            reading.problems.push(problem);
        }
        taken.push((address, Some(place)));
    }
}

/// Reads `127.0.0.1:8080` or `[::1]:8080`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an address with a port, such as 127.0.0.1:8080 or [::1]:8080")
    })
}

fn listener(reading: &mut Reading<'_>, row: &Node, routes: &[Arc<Route>]) -> Option<Listener> {
    let place = row.get("address")?;
    let address = reading.keep(place, address(place.text()?));
    let tls = row.get("tls").and_then(|node| tls(reading, node));
    if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
        if row.get("tls").is_none() && !flag(row, "plaintext", false) {
            let message = format!(
                "{address} is not a loopback address: add tls, or plaintext = true \
                                   if something in front of it encrypts"
            );
            reading.problem(place, message);
        }
        if rows(reading.root, "token").is_empty() {
            let message = format!(
                "{address} is not a loopback address and there is no token yet; \
                                   `callway token create NAME --row` makes one"
            );
            reading.problem(place, message);
        }
    }
    let endpoints = endpoints(reading, row, routes);
    Some(Listener {
        address: address?,
        tls,
        allowed_origins: origins(reading, row),
        public_url: public_url(reading, row),
        trusted_proxies: proxies(reading, row),
        endpoints,
    })
}

fn tls(reading: &mut Reading<'_>, node: &Node) -> Option<Tls> {
    let certificate = reading.file(node.get("certificate")?);
    let key = reading.file(node.get("key")?);
    let client_ca = match node.get("client_ca") {
        Some(ca) => Some(reading.file(ca)?),
        None => None,
    };
    if let Some(auth) = node.get("client_auth").filter(|_| client_ca.is_none()) {
        reading.problem(
            auth,
            "client_auth needs client_ca, the authorities of the certificates",
        );
    }
    let client_required = text(node, "client_auth") == Some("required");
    Some(Tls {
        certificate: certificate?,
        key: key?,
        client_ca,
        client_required,
    })
}

fn origins(reading: &mut Reading<'_>, row: &Node) -> Option<Vec<String>> {
    let nodes = row.get("allowed_origins")?.list();
    if nodes.iter().any(|node| node.text() == Some("*")) {
        return None;
    }
    for node in nodes {
        let text = node.text().unwrap_or_default();
        let exact = Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text);
        if !exact {
            reading.problem(
                node,
                format!(
                    "{text:?} is not an origin; write it as browsers send it, \
                                           such as https://app.example.com"
                ),
            );
        }
    }
    Some(
        nodes
            .iter()
            .filter_map(|node| node.text().map(str::to_owned))
            .collect(),
    )
}

fn public_url(reading: &mut Reading<'_>, row: &Node) -> Option<Url> {
    let node = row.get("public_url")?;
    let url = reading.keep(
        node,
        Url::parse(node.text()?).map_err(|why| format!("not a URL: {why}")),
    )?;
    if !matches!(url.scheme(), "ws" | "wss" | "http" | "https") {
        reading.problem(
            node,
            "public_url begins with ws://, wss://, http:// or https://",
        );
    }
    Some(url)
}

fn proxies(reading: &mut Reading<'_>, row: &Node) -> Vec<IpAddr> {
    let nodes = row.get("trusted_proxies").map_or(&[][..], Node::list);
    nodes
        .iter()
        .filter_map(|node| {
            let parsed = node.text()?.parse().map_err(|_| "not an IP address");
            reading.keep(node, parsed)
        })
        .collect()
}

fn endpoints(reading: &mut Reading<'_>, row: &Node, routes: &[Arc<Route>]) -> Vec<Endpoint> {
    let mut endpoints: Vec<(Endpoint, &Node)> = Vec::new();
    for node in row.get("endpoint").map_or(&[][..], Node::list) {
        let Some(endpoint) = endpoint(reading, node, routes) else {
            continue;
        };
        if let Some((_, first)) = endpoints
            .iter()
            .find(|(other, _)| other.path == endpoint.path)
        {
            let problem = Problem::new(
                node.origin.clone(),
                match &*endpoint.path {
                    "" => "two endpoints without path".to_owned(),
                    path => format!("two endpoints at {path}"),
                },
            );
            reading
                .problems
                .push(problem.and(first.origin.clone(), "the first one"));
            continue;
        }
        endpoints.push((endpoint, node));
    }
    mqtt::refuse_company(reading, &endpoints);
    endpoints
        .into_iter()
        .map(|(endpoint, _)| endpoint)
        .collect()
}

/// Empty where plain MQTT does without.
fn path<'n>(reading: &mut Reading<'_>, node: &'n Node) -> Option<&'n str> {
    let Some(place) = node.get("path") else {
        if text(node, "dialect") == Some("mqtt") {
            return Some("");
        }
        reading.problem(node, "the key `path` is missing; only mqtt does without");
        return None;
    };
    let path = place.text()?;
    let fits = path == "/"
        || (path.starts_with('/')
            && path[1..]
                .split('/')
                .all(|s| !s.is_empty() && s != "." && s != ".."));
    if !fits || path.contains(['?', '#', '%', ' ']) {
        reading.problem(
            place,
            "a path begins with / and does not end with one, such as / or /rpc",
        );
    }
    Some(path)
}

fn endpoint(reading: &mut Reading<'_>, node: &Node, routes: &[Arc<Route>]) -> Option<Endpoint> {
    let path = path(reading, node)?;
    let place = node.get("dialect")?;
    let dialect = match place.text()? {
        "scriptr" => Dialect::Scriptr(Arc::new(scriptr(reading, node)?)),
        "flow" => Dialect::Flow(Arc::new(flow::options(reading, node, path)?)),
        "jsonrpc" => Dialect::Jsonrpc,
        "http" => Dialect::Http,
        "action" => Dialect::Action(Arc::new(action::options(reading, node)?)),
        "talkee" => Dialect::Talkee(Arc::new(talkee::options(reading, node)?)),
        "mqtt" => Dialect::Mqtt(mqtt::options(reading, node)),
        other => {
            reading.problem(
                place,
                format!(
                    "{other:?} is not a dialect; they are scriptr, jsonrpc, http, action, flow, \
                     talkee and mqtt"
                ),
            );
            return None;
        }
    };
    for (key, dialects) in OPTIONS {
        if let Some(option) = node.get(key)
            && !dialects.iter().any(|dialect| place.text() == Some(dialect))
        {
            let owners = dialects.join(" or ");
            reading.problem(
                option,
                format!("this option belongs to the dialect {owners}"),
            );
        }
    }
    if matches!(dialect, Dialect::Http) {
        refuse_taken_names(reading, routes);
    }
    Some(Endpoint {
        path: path.to_owned(),
        dialect,
    })
}

/// The http dialect has `/channels/…` and `/calls/…` of its own.
fn refuse_taken_names(reading: &mut Reading<'_>, routes: &[Arc<Route>]) {
    let root = reading.root;
    for route in routes {
        let Some(Segment::Literal(first)) = route.pattern.segments().first() else {
            continue;
        };
        if matches!(&**first, "channels" | "calls") {
            let row = reading.row_of(route);
            let place = row.and_then(|row| row.get("method")).unwrap_or(root);
            let known = reading
                .problems
                .iter()
                .any(|problem| problem.origin == place.origin);
            if !known {
                reading.problem(
                    place,
                    format!("an http endpoint has /{first}/… of its own; rename the method"),
                );
            }
        }
    }
}

/// The token row that clients without a token act as.
pub(super) fn anonymous(reading: &mut Reading<'_>, node: &Node) -> Option<Arc<str>> {
    let place = node.get("anonymous")?;
    let name = place.text()?;
    if !names_token(reading.root, name) {
        reading.problem(place, format!("there is no token {name:?}"));
    }
    Some(name.into())
}

fn scriptr(reading: &mut Reading<'_>, node: &Node) -> Option<ScriptrOptions> {
    let anonymous = anonymous(reading, node);
    let place = node.get("methods").unwrap_or(node);
    let methods = reading.keep(
        place,
        Template::parse(text(node, "methods").unwrap_or("{path...}")),
    )?;
    if methods.captures().collect::<Vec<_>>() != ["path"] {
        reading.problem(
            place,
            "`methods` holds {path...} once, such as \"legacy/{path...}\"",
        );
    }
    Some(ScriptrOptions {
        anonymous,
        legacy_envelope: flag(node, "legacy_envelope", false),
        ordered: flag(node, "ordered", true),
        methods,
    })
}

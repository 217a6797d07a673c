//! From what was read to what is run with. Nothing here has side effects; every problem is
//! collected, so that all of them can be mended at once.

mod action;
mod admin;
mod bus;
mod certificate;
mod channel;
mod cycle;
mod flow;
mod limits;
mod listen;
mod mqtt;
mod overlap;
mod route;
mod script;
mod service;
mod store;
mod talkee;
mod token;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

pub use self::admin::{ADMIN_SOCKET, admin_socket};
use super::load::Environment;
use super::node::{Node, Origin, Sources};
use super::report::{Problem, Problems};
use super::{Cluster, Config, Log, LogFormat, Route, Scripts, UrlRule, secret, values};
use crate::router::{Pattern, Segment, Template};

/// What every check needs: the texts, the environment, and where to put problems.
struct Reading<'a> {
    root: &'a Node,
    /// The `[[route]]` rows by method, because there may be very many.
    routes: HashMap<&'a str, &'a Node>,
    sources: &'a mut Sources,
    environment: &'a Environment,
    problems: &'a mut Problems,
}

/// Validates the merged tree, whose shape was checked before. `None` if a part is missing.
pub fn config(
    root: &Node,
    sources: &mut Sources,
    environment: &Environment,
    problems: &mut Problems,
) -> Option<Config> {
    let by_method = |row| Some((text(row, "method")?, row));
    let mut reading = Reading {
        root,
        // Of two rows with one method the first counts; the second is an error of its own.
        routes: rows(root, "route")
            .iter()
            .rev()
            .filter_map(by_method)
            .collect(),
        sources,
        environment,
        problems,
    };
    let limits = limits::limits(&mut reading);
    let tokens = token::tokens(&mut reading);
    let certificates = certificate::certificates(&mut reading);
    let scripts = scripts(&mut reading);
    let buses = bus::buses(&mut reading);
    let routes = route::routes(&mut reading, &scripts, &buses, &limits);
    let channels = channel::channels(&mut reading, &buses);
    let services = service::services(&mut reading, &scripts, &tokens, &channels);
    let listeners = listen::listeners(&mut reading, &routes);
    overlap::check(&mut reading, &buses, &routes);
    channel::refuse_taken_topics(&mut reading, &channels, &buses);
    cycle::check(&mut reading, &buses, &routes, &channels);
    script::check(&mut reading, &scripts, &routes, &services);
    let admin = admin::admin(&mut reading);
    listen::refuse_taken_addresses(&mut reading, &admin);
    flow::refuse_shared_queues(&mut reading);
    Some(Config {
        listeners,
        admin,
        cluster: cluster(&mut reading)?,
        log: log(&mut reading),
        scripts,
        buses,
        tokens,
        certificates,
        routes,
        channels,
        services,
        store: store::store(&mut reading)?,
        limits,
    })
}

impl<'a> Reading<'a> {
    fn problem(&mut self, node: &Node, message: impl Into<String>) {
        self.problems
            .push(Problem::new(node.origin.clone(), message));
    }

    /// The row that a route was read from.
    fn row_of(&self, route: &Route) -> Option<&'a Node> {
        self.routes.get(route.pattern.as_str()).copied()
    }

    /// Keeps the value, or the problem.
    fn keep<T>(&mut self, node: &Node, result: Result<T, impl Into<String>>) -> Option<T> {
        result.map_err(|why| self.problem(node, why)).ok()
    }

    /// What relative paths at this place are relative to.
    fn directory(&self, node: &Node) -> PathBuf {
        match &node.origin {
            Origin::File(index, _) => self
                .sources
                .get(*index)
                .map_or_else(PathBuf::new, |s| s.directory.clone()),
            Origin::Variable(_) => PathBuf::new(),
        }
    }

    /// The path in a node; `${CREDENTIALS_DIRECTORY}` and the like are put in.
    fn path(&mut self, node: &Node) -> Option<PathBuf> {
        let directory = self.directory(node);
        secret::path(node, &directory, self.environment)
            .map_err(|problem| self.problems.push(problem))
            .ok()
    }

    /// The path of a file that must be readable.
    fn file(&mut self, node: &Node) -> Option<PathBuf> {
        let path = self.path(node)?;
        match std::fs::File::open(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                self.problem(node, format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }
}

/// The rows of `[[key]]`, also those that cannot be used.
fn rows<'a>(root: &'a Node, key: &str) -> &'a [Node] {
    root.get(key).map_or(&[][..], Node::list)
}

/// Whether there is a token row of this name, also if something else in it is wrong.
fn names_token(root: &Node, name: &str) -> bool {
    let mut rows = rows(root, "token").iter();
    rows.any(|row| text(row, "name") == Some(name))
}

/// Whether a channel row takes whatever this pattern takes.
fn has_row(root: &Node, channels: &Pattern) -> bool {
    rows(root, "channel").iter().any(|row| {
        let pattern = text(row, "name").map(Pattern::parse);
        matches!(pattern, Some(Ok(pattern)) if pattern.covers(channels))
    })
}

/// Reads a template and compares its captures with the pattern's.
fn template(reading: &mut Reading<'_>, node: &Node, pattern: Option<&Pattern>) -> Option<Template> {
    let template = reading.keep(node, Template::parse(node.text()?))?;
    if let Some(pattern) = pattern {
        reading.keep(node, template.check_against(pattern))?;
    }
    Some(template)
}

/// A pattern without the names of its captures: equal ones take equal names.
fn shape_of(pattern: &Pattern) -> String {
    let segments = pattern.segments().iter().map(|segment| match segment {
        Segment::Literal(text) => text,
        Segment::One(_) => "{}",
        Segment::Rest(_) => "{...}",
    });
    segments.collect::<Vec<_>>().join("/")
}

/// The text under a key.
fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key)?.text()
}

/// The truth value under a key, or what stands for its absence.
fn flag(node: &Node, key: &str, default: bool) -> bool {
    node.get(key).and_then(values::bool).unwrap_or(default)
}

/// The duration under a key.
fn duration(node: &Node, key: &str) -> Option<Duration> {
    values::duration(text(node, key)?).ok()
}

/// The size under a key, in bytes.
fn size(node: &Node, key: &str) -> Option<usize> {
    let node = node.get(key)?;
    match values::integer(node) {
        Some(bytes) => usize::try_from(bytes).ok(),
        None => values::size(node.text()?).ok(),
    }
}

/// The count under a key.
fn count(node: &Node, key: &str) -> Option<usize> {
    values::integer(node.get(key)?).and_then(|number| usize::try_from(number).ok())
}

fn cluster(reading: &mut Reading<'_>) -> Option<Cluster> {
    let root = reading.root;
    let node = root.get("cluster");
    let given = node.and_then(|cluster| cluster.get("instance"));
    let instance = match given {
        Some(node) => node.text().unwrap_or_default().to_owned(),
        None => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    };
    if let Err(why) = crate::router::check_segment(&instance) {
        reading.problem(given.unwrap_or(root), format!("cluster.instance: {why}"));
    }
    let group = node
        .and_then(|cluster| text(cluster, "group"))
        .unwrap_or("callway");
    Some(Cluster {
        instance: Arc::from(instance),
        group: group.into(),
    })
}

fn scripts(reading: &mut Reading<'_>) -> Scripts {
    let root = reading.root;
    let node = root.get("scripts");
    let directory = match node.and_then(|scripts| scripts.get("directory")) {
        Some(node) => match reading.path(node).map(|path| (path.canonicalize(), path)) {
            Some((Ok(path), _)) if path.is_dir() => path,
            Some((_, path)) => {
                reading.problem(node, format!("{} is not a directory", path.display()));
                path
            }
            None => PathBuf::new(),
        },
        None => {
            let first = reading.sources.first();
            let path = first
                .map_or(Path::new("."), |source| &source.directory)
                .join("scripts");
            path.canonicalize().unwrap_or(path)
        }
    };
    let rules = node
        .and_then(|scripts| scripts.get("allow_urls"))
        .map_or(&[][..], Node::list);
    let allow_urls = rules
        .iter()
        .filter_map(|node| url_rule(reading, node, &["http", "https"]))
        .collect();
    Scripts {
        directory,
        allow_urls,
    }
}

/// An entry of `allow_urls`, with one of these schemes.
fn url_rule(reading: &mut Reading<'_>, node: &Node, schemes: &[&str]) -> Option<UrlRule> {
    let url = reading.keep(
        node,
        url::Url::parse(node.text()?).map_err(|why| format!("not a URL: {why}")),
    )?;
    if !schemes.contains(&url.scheme()) || url.host().is_none() {
        let schemes: Vec<_> = schemes.iter().map(|one| format!("{one}://")).collect();
        let message = format!(
            "allow_urls take {} URLs with a host here",
            schemes.join(", ")
        );
        reading.problem(node, message);
    } else if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        reading.problem(node, "allow_urls have neither credentials nor a query");
    }
    Some(UrlRule(url))
}

/// A level, or `module=level`.
fn is_directive(text: &str) -> bool {
    let (module, level) = text.split_once('=').unwrap_or(("callway", text));
    !module.trim().is_empty() && level.trim().parse::<LevelFilter>().is_ok()
}

fn log(reading: &mut Reading<'_>) -> Log {
    let root = reading.root;
    let node = root.get("log");
    let level = node
        .and_then(|log| text(log, "level"))
        .unwrap_or("info")
        .to_owned();
    if let Some(place) = node.and_then(|log| log.get("level"))
        && !level.split(',').all(is_directive)
    {
        let message = "levels are error, warn, info, debug and trace; per module, write \
                       \"info,callway::link=debug\"";
        reading.problem(place, message);
    }
    let format = match node.and_then(|log| text(log, "format")) {
        Some("json") => LogFormat::Json,
        Some("journald") => LogFormat::Journald,
        _ => LogFormat::Text,
    };
    Log { level, format }
}

//! Layers: files, what lies in `conf.d` beside them, and the environment on top.

use std::path::{Path, PathBuf};

use super::keys::ROOT;
use super::node::{self, Node, Origin, Source, Sources, Value};
use super::report::{Errors, Problem, Problems};
use super::shape::{self, Key, Shape};
use super::{Config, validate};

/// Prefix and separator of the variables that are a layer.
const PREFIX: &str = "CALLWAY__";

/// Where the environment comes from; tests bring their own.
pub type Environment = Vec<(String, String)>;

/// Why no configuration could be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no file to read.
    #[error(
        "no configuration: {0} does not exist\n\
         `callway config default > callway.toml` writes a commented one to start from, \
         `callway demo` shows callway at work without any"
    )]
    Missing(PathBuf),
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was read is wrong.
    #[error("{0}")]
    Invalid(Box<Errors>),
}

/// Reads one text, without other layers. For tests and embedded configurations.
pub fn parse(text: &str, directory: &Path) -> Result<Config, Errors> {
    let source = Source {
        name: "callway.toml".into(),
        text: text.into(),
        directory: directory.to_owned(),
    };
    build(vec![source], &Environment::new())
}

/// Reads the files in their order, `conf.d/*.toml` beside each in name order, and the environment.
pub fn load(files: &[PathBuf], environment: &Environment) -> Result<Config, LoadError> {
    build(sources(files)?, environment).map_err(|errors| LoadError::Invalid(Box::new(errors)))
}

/// Where the daemon of this configuration has its admin socket. The rest is not looked at: it may
/// need an environment, and files, that only the daemon has.
pub fn admin_socket(
    files: &[PathBuf],
    environment: &Environment,
) -> Result<Option<PathBuf>, LoadError> {
    let mut sources = sources(files)?;
    let mut problems = Problems::new();
    let mut root = merge(&sources, &mut problems);
    add_variables(&mut root, environment, &mut problems);
    let socket = validate::admin_socket(&root, &mut sources, environment, &mut problems);
    match problems.is_empty() {
        true => Ok(socket),
        false => Err(LoadError::Invalid(Box::new(Errors::new(problems, sources)))),
    }
}

fn sources(files: &[PathBuf]) -> Result<Sources, LoadError> {
    let mut sources = Sources::new();
    let mut directories = Vec::new();
    for file in files {
        sources.push(read(file)?);
        let directory = file.with_file_name("conf.d");
        if directories.contains(&directory) {
            continue; // two files may lie beside each other
        }
        for extra in drop_ins(&directory)? {
            sources.push(read(&extra)?);
        }
        directories.push(directory);
    }
    Ok(sources)
}

fn read(path: &Path) -> Result<Source, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => LoadError::Missing(path.to_owned()),
        _ => LoadError::Unreadable {
            path: path.to_owned(),
            source,
        },
    })?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok(Source {
        name: path.display().to_string(),
        text,
        directory,
    })
}

fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(LoadError::Unreadable {
                path: directory.to_owned(),
                source,
            });
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    Ok(paths)
}

fn build(mut sources: Sources, environment: &Environment) -> Result<Config, Errors> {
    let mut problems = Problems::new();
    let mut root = merge(&sources, &mut problems);
    // A file that is no TOML leaves too much open to say more about the rest.
    let readable = problems.is_empty();
    let mut config = None;
    if readable {
        add_variables(&mut root, environment, &mut problems);
        shape::check(&root, ROOT, &mut problems);
        let mut more = Problems::new();
        config = validate::config(&root, &mut sources, environment, &mut more);
        // What has the wrong shape was said to be wrong already.
        more.retain(|problem| problems.iter().all(|known| known.origin != problem.origin));
        problems.append(&mut more);
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Errors::new(problems, sources)),
    }
}

/// Lays the files over each other.
fn merge(sources: &Sources, problems: &mut Problems) -> Node {
    let mut root = Node {
        value: Value::Table(node::Table::new()),
        origin: Origin::File(0, 0..0),
    };
    for (index, source) in sources.iter().enumerate() {
        let layer = node::read(index, source, problems);
        refuse_second_buses(&root, &layer, problems);
        node::merge(&mut root, layer);
    }
    root
}

/// Lays the environment over them.
fn add_variables(root: &mut Node, environment: &Environment, problems: &mut Problems) {
    let variables = environment.iter();
    for (name, text) in variables.filter(|(name, _)| name.starts_with(PREFIX)) {
        overlay(root, name, text, problems);
    }
}

/// A bus stands in one file: half of it elsewhere is more likely a slip than meant.
fn refuse_second_buses(root: &Node, layer: &Node, problems: &mut Problems) {
    let (Some(known), Some(buses)) = (
        root.get("bus").and_then(Node::table),
        layer.get("bus").and_then(Node::table),
    ) else {
        return;
    };
    for (name, (origin, _)) in buses {
        if let Some((first, _)) = known.get(name) {
            let problem = Problem::new(origin.clone(), format!("two buses with the name {name}"));
            problems.push(problem.and(first.clone(), "the first one"));
        }
    }
}

/// Puts one variable in its place. Its text keeps its type open until the key is known.
fn overlay(root: &mut Node, variable: &str, text: &str, problems: &mut Problems) {
    let origin = Origin::Variable(variable.to_owned());
    let path = path_of(root, &variable[PREFIX.len()..]);
    let value = match shape_at(ROOT, &path) {
        Some(Shape::Rows(_)) => {
            let message =
                "arrays of tables cannot be set from the environment; use a file in conf.d";
            problems.push(Problem::new(origin, message));
            return;
        }
        Some(Shape::Texts) => Value::List(
            text.split(',')
                .map(|item| Node {
                    value: Value::Untyped(item.trim().to_owned()),
                    origin: origin.clone(),
                })
                .collect(),
        ),
        _ => Value::Untyped(text.to_owned()),
    };
    let mut layer = Node {
        value,
        origin: origin.clone(),
    };
    for key in path.iter().rev() {
        let table = node::Table::from([(key.clone(), (origin.clone(), layer))]);
        layer = Node {
            value: Value::Table(table),
            origin: origin.clone(),
        };
    }
    node::merge(root, layer);
}

/// The keys that a variable's name stands for. Case says nothing in it: keys are lower-case, and the
/// name of a bus is the one that the files have.
fn path_of(root: &Node, name: &str) -> Vec<String> {
    let mut path: Vec<_> = name.split("__").map(str::to_ascii_lowercase).collect();
    if let [first, bus, ..] = &mut path[..]
        && first == "bus"
        && let Some(known) = root.get("bus").and_then(Node::table)
        && let Some(name) = known.keys().find(|name| name.eq_ignore_ascii_case(bus))
    {
        bus.clone_from(name);
    }
    path
}

fn shape_at(keys: &[Key], path: &[String]) -> Option<Shape> {
    let (first, rest) = path.split_first()?;
    let shape = keys.iter().find(|key| key.name == first)?.shape;
    match (shape, rest) {
        (Shape::Table(keys), [_, ..]) => shape_at(keys, rest),
        (Shape::Named(keys), [_, rest @ ..]) if !rest.is_empty() => shape_at(keys, rest),
        _ => Some(shape),
    }
}

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
    let mut sources = Sources::new();
    for file in files {
        sources.push(read(file)?);
        for extra in drop_ins(file)? {
            sources.push(read(&extra)?);
        }
    }
    build(sources, environment).map_err(|errors| LoadError::Invalid(Box::new(errors)))
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

fn drop_ins(file: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let directory = file.with_file_name("conf.d");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(LoadError::Unreadable {
                path: directory,
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

fn build(sources: Sources, environment: &Environment) -> Result<Config, Errors> {
    let mut problems = Problems::new();
    let mut root = Node {
        value: Value::Table(node::Table::new()),
        origin: Origin::File(0, 0..0),
    };
    for (index, source) in sources.iter().enumerate() {
        let layer = node::read(index, source, &mut problems);
        node::merge(&mut root, layer);
    }
    if problems.is_empty() {
        for (name, text) in environment
            .iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
        {
            overlay(&mut root, name, text, &mut problems);
        }
        shape::check(&root, ROOT, &mut problems);
    }
    // Values are looked at only where they have the right shape.
    let config = problems
        .is_empty()
        .then(|| validate::config(&root, &sources, environment, &mut problems))
        .flatten();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Errors::new(problems, sources)),
    }
}

/// Puts one variable in its place. Its text keeps its type open until the key is known.
fn overlay(root: &mut Node, variable: &str, text: &str, problems: &mut Problems) {
    let origin = Origin::Variable(variable.to_owned());
    let path: Vec<String> = variable[PREFIX.len()..]
        .split("__")
        .map(str::to_ascii_lowercase)
        .collect();
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

fn shape_at(keys: &[Key], path: &[String]) -> Option<Shape> {
    let (first, rest) = path.split_first()?;
    let shape = keys.iter().find(|key| key.name == first)?.shape;
    match (shape, rest) {
        (Shape::Table(keys), [_, ..]) => shape_at(keys, rest),
        (Shape::Named(keys), [_, rest @ ..]) if !rest.is_empty() => shape_at(keys, rest),
        _ => Some(shape),
    }
}

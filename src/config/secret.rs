//! Secrets come from files or the environment, never into a message.

use std::path::{Path, PathBuf};

use super::load::Environment;
use super::node::Node;
use super::report::Problem;
use crate::auth::Secret;

/// A text in which `${NAME}` stands for an environment variable.
pub fn expand(text: &str, environment: &Environment) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("a ${ without its }")?;
        let value = environment.iter().find(|(variable, _)| variable == name);
        let (_, value) =
            value.ok_or_else(|| format!("the environment variable {name} is not set"))?;
        expanded.push_str(before);
        expanded.push_str(value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// A path that may name an environment variable, relative to the file that names it.
pub fn path(node: &Node, directory: &Path, environment: &Environment) -> Result<PathBuf, Problem> {
    let text = expand(node.text().unwrap_or_default(), environment)
        .map_err(|why| Problem::new(node.origin.clone(), why))?;
    Ok(directory.join(text))
}

/// The secret in a file, without the line end that editors add.
pub fn from_file(
    node: &Node,
    directory: &Path,
    environment: &Environment,
) -> Result<Secret, Problem> {
    let path = path(node, directory, environment)?;
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Problem::new(
            node.origin.clone(),
            format!("cannot read {}: {error}", path.display()),
        )
    })?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

/// The secret in a text.
pub fn from_text(node: &Node, environment: &Environment) -> Result<Secret, Problem> {
    expand(node.text().unwrap_or_default(), environment)
        .map(Secret::new)
        .map_err(|why| Problem::new(node.origin.clone(), why))
}

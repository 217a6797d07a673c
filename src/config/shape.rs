//! The language in which the keys of the configuration are described. One description serves the
//! check of what people wrote, the JSON Schema and the reference in `docs/`.

use super::node::{Node, Value};
use super::report::{Problem, Problems};
use super::values;

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Any string.
    Text,
    /// A string that stands for itself or, as `${NAME}`, for an environment variable.
    Secret,
    /// `true` or `false`.
    Bool,
    /// An integer within these bounds.
    Integer(i64, i64),
    /// `"500ms"`, `"5s"`, `"2m"`, `"1h"`, `"90d"`.
    Duration,
    /// Bytes: an integer, or `"64KiB"`, `"1MiB"`, `"1GiB"`.
    Size,
    /// `"100/s"`, `"20/m"`, `"5/h"`.
    Rate,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// Anything; a JSON Schema is checked by its own rules.
    Anything,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table whose keys are names, all with tables of these keys.
    Named(&'static [Key]),
    /// An array of tables with these keys.
    Rows(&'static [Key]),
}

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// What it means, for the schema and the reference.
    pub about: &'static str,
}

/// A key that may be left out.
pub const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key {
        name,
        shape,
        required: false,
        about,
    }
}

/// A key that must be there.
pub const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key {
        name,
        shape,
        required: true,
        about,
    }
}

/// Keys that a later version will have, so that their refusal can say so.
const LATER: [&str; 1] = ["jwt"];

/// Compares a table with its description and reports everything that does not fit.
pub fn check(node: &Node, keys: &[Key], problems: &mut Problems) {
    let Some(table) = node.table() else {
        problems.push(Problem::new(node.origin.clone(), "a table must stand here"));
        return;
    };
    for (name, (origin, value)) in table {
        match keys.iter().find(|key| key.name == name) {
            Some(key) => check_value(key.name, value, key.shape, problems),
            None => problems.push(Problem::new(origin.clone(), unknown(name, keys))),
        }
    }
    for key in keys
        .iter()
        .filter(|key| key.required && !table.contains_key(key.name))
    {
        let message = format!("the key `{}` is missing: {}", key.name, key.about);
        problems.push(Problem::new(node.origin.clone(), message));
    }
}

fn unknown(name: &str, keys: &[Key]) -> String {
    if LATER.contains(&name) {
        return format!("`{name}` is not available in this version of callway; remove it");
    }
    let nearest = keys
        .iter()
        .map(|key| (strsim::damerau_levenshtein(name, key.name), key.name))
        .min();
    match nearest {
        Some((distance, near)) if distance <= near.len().max(name.len()) / 2 => {
            format!("unknown key `{name}`; did you mean `{near}`?")
        }
        _ if keys.is_empty() => format!("unknown key `{name}`; this table is empty"),
        _ => {
            let names: Vec<_> = keys.iter().map(|key| key.name).collect();
            format!(
                "unknown key `{name}`; the keys here are {}",
                names.join(", ")
            )
        }
    }
}

fn check_value(name: &str, node: &Node, shape: Shape, problems: &mut Problems) {
    let wrong = |wanted: &str| {
        let found = match shape {
            Shape::Secret => "a value of another type".into(),
            _ => describe(&node.value),
        };
        Problem::new(
            node.origin.clone(),
            format!("`{name}` must be {wanted}, not {found}"),
        )
    };
    let result: Result<(), Problem> = match shape {
        Shape::Text | Shape::Secret => node.text().map(drop).ok_or_else(|| wrong("a string")),
        Shape::Bool => values::bool(node)
            .map(drop)
            .ok_or_else(|| wrong("true or false")),
        Shape::Integer(low, high) => match values::integer(node) {
            Some(number) if (low..=high).contains(&number) => Ok(()),
            Some(number) => Err(Problem::new(
                node.origin.clone(),
                format!("`{name}` must be between {low} and {high}, not {number}"),
            )),
            None => Err(wrong("an integer")),
        },
        Shape::Duration => parsed(name, node, values::duration),
        Shape::Rate => parsed(name, node, values::rate),
        Shape::Size => match values::integer(node) {
            Some(bytes) if bytes >= 0 => Ok(()),
            _ => parsed(name, node, values::size),
        },
        Shape::Choice(choices) => match node.text() {
            Some(text) if choices.contains(&text) => Ok(()),
            _ => Err(wrong(&format!("one of {}", quoted(choices)))),
        },
        Shape::Texts => match &node.value {
            Value::List(nodes) if nodes.iter().all(|node| node.text().is_some()) => Ok(()),
            _ => Err(wrong("a list of strings")),
        },
        Shape::Anything => Ok(()),
        Shape::Table(keys) if node.table().is_some() => {
            check(node, keys, problems);
            Ok(())
        }
        Shape::Table(_) => Err(wrong("a table")),
        Shape::Named(keys) => match node.table() {
            Some(table) => {
                table
                    .values()
                    .for_each(|(_, node)| check(node, keys, problems));
                Ok(())
            }
            None => Err(wrong("a table of tables")),
        },
        Shape::Rows(keys) => match &node.value {
            Value::List(rows) => {
                rows.iter().for_each(|row| check(row, keys, problems));
                Ok(())
            }
            _ => Err(wrong(&format!("an array of tables: write [[{name}]]"))),
        },
    };
    problems.extend(result.err());
}

fn parsed<T>(name: &str, node: &Node, parse: fn(&str) -> Result<T, String>) -> Result<(), Problem> {
    let outcome = match &node.value {
        // An integer without its unit is the usual slip; the parser says how to write it.
        Value::Integer(number) => parse(&number.to_string()).map(drop),
        value => match node.text() {
            Some(text) => parse(text).map(drop),
            None => Err(format!("a string must stand here, not {}", describe(value))),
        },
    };
    outcome.map_err(|why| Problem::new(node.origin.clone(), format!("`{name}`: {why}")))
}

fn quoted(choices: &[&str]) -> String {
    choices
        .iter()
        .map(|choice| format!("{choice:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn describe(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Untyped(text) if text.len() <= 40 => format!("{text:?}"),
        Value::Text(_) | Value::Untyped(_) => "this string".into(),
        Value::Integer(number) => format!("the integer {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Bool(flag) => format!("{flag}"),
        Value::Date(text) => text.clone(),
        Value::List(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
    }
}

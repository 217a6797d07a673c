//! Configuration as read: a tree of values that know where they stand.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{Problem, Problems};

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Bytes of the file with this index among the [`Sources`].
    File(usize, Range<usize>),
    /// The environment variable of this name.
    Variable(String),
}

/// One text that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// How messages call it.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// What relative paths in it are relative to.
    pub directory: std::path::PathBuf,
}

impl Source {
    /// Line and column of a byte, both counted from 1; columns are characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..byte.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n');
        let column = String::from_utf8_lossy(&before[start.map_or(0, |at| at + 1)..]);
        (line, column.chars().count() + 1)
    }
}

/// All texts that were read, in their order.
pub type Sources = Vec<Source>;

/// A value with its origin.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands.
    pub origin: Origin,
}

/// A value of TOML 1.0. Dates have no place in this configuration and are kept as text.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A date or a time.
    Date(String),
    /// A text of the environment, whose type follows from the key it is for.
    Untyped(String),
    /// An array.
    List(Vec<Node>),
    /// A table: for each key where it is written and what it holds.
    Table(Table),
}

/// The members of a table.
pub type Table = BTreeMap<String, (Origin, Node)>;

impl Node {
    /// The members, if it is a table.
    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The elements, if it is a list.
    pub fn list(&self) -> &[Node] {
        match &self.value {
            Value::List(nodes) => nodes,
            _ => &[],
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Untyped(text) => Some(text),
            _ => None,
        }
    }

    /// The member of this key, if it is a table that has one.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.table()?.get(key).map(|(_, node)| node)
    }
}

impl Node {
    /// As JSON, for values that are checked by a JSON Schema's own rules.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Text(text) | Value::Untyped(text) | Value::Date(text) => text.as_str().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Bool(flag) => (*flag).into(),
            Value::List(nodes) => nodes.iter().map(Node::to_json).collect(),
            Value::Table(table) => {
                let members = table
                    .iter()
                    .map(|(key, (_, node))| (key.clone(), node.to_json()));
                serde_json::Value::Object(members.collect())
            }
        }
    }
}

/// Reads one file into a table, reporting everything that is not TOML.
pub fn read(index: usize, source: &Source, problems: &mut Problems) -> Node {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let span = error.span().unwrap_or_default();
        problems.push(Problem::new(
            Origin::File(index, span),
            error.message().to_owned(),
        ));
    }
    let span = table.span();
    Node {
        value: Value::Table(members(index, table.get_ref())),
        origin: Origin::File(index, span),
    }
}

fn members(index: usize, table: &DeTable<'_>) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let origin = Origin::File(index, key.span());
            (key.get_ref().to_string(), (origin, node(index, value)))
        })
        .collect()
}

fn node(index: usize, value: &Spanned<DeValue<'_>>) -> Node {
    let origin = Origin::File(index, value.span());
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or_else(|_| Value::Date(digits.as_str().to_owned()), Value::Integer),
        DeValue::Float(digits) => Value::Float(digits.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(values) => Value::List(values.iter().map(|v| node(index, v)).collect()),
        DeValue::Table(table) => Value::Table(members(index, table)),
    };
    Node { value, origin }
}

/// Lays `upper` over `lower`: tables key by key, lists appended, anything else replaced.
pub fn merge(lower: &mut Node, upper: Node) {
    match (&mut lower.value, upper.value) {
        (Value::Table(below), Value::Table(above)) => {
            for (key, (origin, node)) in above {
                match below.get_mut(&key) {
                    Some((_, existing)) => merge(existing, node),
                    None => {
                        below.insert(key, (origin, node));
                    }
                }
            }
        }
        (Value::List(below), Value::List(above)) if is_rows(below) && is_rows(&above) => {
            below.extend(above);
        }
        (below, above) => {
            *below = above;
            lower.origin = upper.origin;
        }
    }
}

/// Whether a list is an array of tables; lists of plain values are replaced by a later file.
fn is_rows(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| node.table().is_some())
}

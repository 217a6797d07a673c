//! The JSON Schema (2020-12) of the configuration, for editors.

use serde_json::{Map, Value, json};

use super::keys::ROOT;
use super::shape::{Key, Shape};

/// What `callway config schema` prints.
pub fn schema() -> Value {
    let mut schema = table(ROOT);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "callway configuration".into();
    schema
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut value = of(key.shape);
            value["description"] = key.about.into();
            (key.name.to_owned(), value)
        })
        .collect();
    let required: Vec<_> = keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn of(shape: Shape) -> Value {
    match shape {
        Shape::Text | Shape::Secret => json!({ "type": "string" }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Integer(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Shape::Duration => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }),
        Shape::Size => json!({
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" },
            ]
        }),
        Shape::Rate => json!({ "type": "string", "pattern": "^[1-9][0-9]*/(s|m|h)$" }),
        Shape::Choice(choices) => json!({ "enum": choices }),
        Shape::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Shape::Anything => json!({}),
        Shape::Table(keys) => table(keys),
        Shape::Named(keys) => json!({ "type": "object", "additionalProperties": table(keys) }),
        Shape::Rows(keys) => json!({ "type": "array", "items": table(keys) }),
    }
}

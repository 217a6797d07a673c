//! JSON to Lua values and back.
//!
//! Objects become tables whose `null` members are absent; arrays become sequences in which
//! `null` is `json.null`. On the way back a table with the keys 1…n is an array, an empty one is
//! an object unless it came from `[]` or `json.array`, any other is an object.

use std::io::Write as _;

use mlua::{Lua, Table, Value};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

/// Values nested deeper are refused, and with them those that contain themselves.
const MAX_DEPTH: usize = 128;
/// Up to here a number is a whole one for sure.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

/// Reads JSON text.
pub fn read(lua: &Lua, text: &[u8], array: &Table) -> mlua::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Seed { lua, array }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|error| mlua::Error::runtime(format!("not JSON: {error}")))
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    lua: &'a Lua,
    array: &'a Table,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::NULL)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        let text = self.lua.create_string(value).map_err(E::custom)?;
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let table = self.lua.create_table().map_err(A::Error::custom)?;
        let mut length = 0;
        while let Some(item) = seq.next_element_seed(self)? {
            length += 1;
            table.raw_seti(length, item).map_err(A::Error::custom)?;
        }
        if length == 0 {
            table
                .set_metatable(Some(self.array.clone()))
                .map_err(A::Error::custom)?;
        }
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let table = self.lua.create_table().map_err(A::Error::custom)?;
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            let value = map.next_value_seed(self)?;
            if !value.is_null() {
                table.raw_set(&*key, value).map_err(A::Error::custom)?;
            }
        }
        Ok(Value::Table(table))
    }
}

/// Writes a value as JSON text; fails for what JSON has no word for.
pub fn write(value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(128);
    write_value(&mut out, value, MAX_DEPTH)?;
    Ok(out)
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), String> {
    if depth == 0 {
        return Err(format!(
            "this value is nested deeper than {MAX_DEPTH} levels, or contains itself"
        ));
    }
    match value {
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Integer(value) => write_number(out, *value as f64),
        Value::Number(value) => write_number(out, *value),
        Value::String(text) => write_text(out, &text.as_bytes())?,
        Value::Table(table) => write_table(out, table, depth)?,
        value if value.is_null() || value.is_nil() => out.extend_from_slice(b"null"),
        value => {
            return Err(format!(
                "a {} cannot become JSON; return tables, strings, numbers and booleans",
                value.type_name()
            ));
        }
    }
    Ok(())
}

fn write_number(out: &mut Vec<u8>, value: f64) {
    // Writing to a vector cannot fail.
    let written = if !value.is_finite() {
        write!(out, "null")
    } else if value.fract() == 0.0 && value.abs() < MAX_SAFE {
        write!(out, "{}", value as i64)
    } else {
        serde_json::to_writer(&mut *out, &value).map_err(Into::into)
    };
    debug_assert!(written.is_ok());
}

fn write_text(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "a string with bytes that are not UTF-8 cannot become JSON".to_owned())?;
    serde_json::to_writer(out, text).map_err(|error| error.to_string())
}

fn write_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> Result<(), String> {
    let length = table.raw_len();
    let count = table.pairs::<Value, Value>().count();
    if count == length && (length > 0 || table.has_metatable()) {
        out.push(b'[');
        for index in 1..=length {
            if index > 1 {
                out.push(b',');
            }
            let item: Value = table.raw_get(index).map_err(|error| error.to_string())?;
            write_value(out, &item, depth - 1)?;
        }
        out.push(b']');
        return Ok(());
    }
    out.push(b'{');
    let mut first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        match &key {
            Value::String(text) => write_text(out, &text.as_bytes())?,
            Value::Number(_) | Value::Integer(_) | Value::Boolean(_) => {
                let text = key.to_string().map_err(|error| error.to_string())?;
                write_text(out, text.as_bytes())?;
            }
            key => return Err(format!("a {} cannot be a key in JSON", key.type_name())),
        }
        out.push(b':');
        write_value(out, &value, depth - 1)?;
    }
    out.push(b'}');
    Ok(())
}

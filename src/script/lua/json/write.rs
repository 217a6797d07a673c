//! To text.

use mlua::{Error, Table, Value};

/// Values nested deeper are refused, and with them those that contain themselves.
const MAX_DEPTH: usize = 128;
/// Up to here a number is a whole one for sure.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

/// Writes a value as JSON text; fails for what JSON has no word for.
pub fn write(value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(128);
    match write_value(&mut out, value, MAX_DEPTH) {
        Ok(()) => Ok(out),
        Err(Error::RuntimeError(message)) => Err(message),
        Err(error) => Err(error.to_string()),
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> mlua::Result<()> {
    if depth == 0 {
        return Err(Error::runtime(format_args!(
            "this value is nested deeper than {MAX_DEPTH} levels, or contains itself"
        )));
    }
    match value {
        Value::Boolean(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Integer(value) => write_number(out, *value as f64),
        Value::Number(value) => write_number(out, *value),
        Value::String(text) => write_text(out, &text.as_bytes())?,
        Value::Table(table) => match items(table)? {
            Some(length) => write_array(out, table, length, depth)?,
            None => write_object(out, table, depth)?,
        },
        value if value.is_null() || value.is_nil() => out.extend_from_slice(b"null"),
        value => {
            return Err(Error::runtime(format_args!(
                "a {} cannot become JSON; return tables, strings, numbers and booleans",
                value.type_name()
            )));
        }
    }
    Ok(())
}

fn write_number(out: &mut Vec<u8>, value: f64) {
    // Writing to a vector cannot fail. What is no number is `null`.
    let written = if value.fract() == 0.0 && value.abs() < MAX_SAFE {
        serde_json::to_writer(&mut *out, &(value as i64))
    } else {
        serde_json::to_writer(&mut *out, &value)
    };
    debug_assert!(written.is_ok());
}

fn write_text(out: &mut Vec<u8>, bytes: &[u8]) -> mlua::Result<()> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::runtime("a string with bytes that are not UTF-8 cannot become JSON"))?;
    serde_json::to_writer(out, text).map_err(Error::runtime)
}

/// How many items a table has that is an array.
fn items(table: &Table) -> mlua::Result<Option<usize>> {
    let length = table.raw_len();
    if length == 0 {
        let array = table.has_metatable() && table.is_empty();
        return Ok(array.then_some(0));
    }
    let mut count = 0;
    // Whatever there is makes a boolean, which costs nothing.
    table.for_each(|_: bool, _: bool| {
        count += 1;
        Ok(())
    })?;
    Ok((count == length).then_some(length))
}

fn write_array(out: &mut Vec<u8>, table: &Table, length: usize, depth: usize) -> mlua::Result<()> {
    out.push(b'[');
    for index in 1..=length {
        if index > 1 {
            out.push(b',');
        }
        write_value(out, &table.raw_get(index)?, depth - 1)?;
    }
    out.push(b']');
    Ok(())
}

fn write_object(out: &mut Vec<u8>, table: &Table, depth: usize) -> mlua::Result<()> {
    out.push(b'{');
    let empty = out.len();
    table.for_each(|key: Value, value: Value| {
        if out.len() > empty {
            out.push(b',');
        }
        match &key {
            Value::String(text) => write_text(out, &text.as_bytes())?,
            Value::Number(_) | Value::Integer(_) | Value::Boolean(_) => {
                write_text(out, key.to_string()?.as_bytes())?;
            }
            key => {
                let name = key.type_name();
                return Err(Error::runtime(format_args!(
                    "a {name} cannot be a key in JSON"
                )));
            }
        }
        out.push(b':');
        write_value(out, &value, depth - 1)
    })?;
    out.push(b'}');
    Ok(())
}

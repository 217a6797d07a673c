//! From text.
//!
//! A handle on a Lua value costs more than most values do, and so does a table that grows. So text
//! goes into its table without a handle, and small tables are made when all that belongs into them
//! is known.

use std::cell::RefCell;
use std::fmt;

use mlua::Either::{self, Left, Right};
use mlua::{IntoLua as _, Lua, Table, Value};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

/// A byte of text becomes fewer bytes of Lua than this, even while its tables grow. The worst there is
/// are arrays in arrays.
pub const SWELL: usize = 96;
/// Of larger tables, only the first so many members are collected: what waits here is counted by no
/// budget.
const FEW: usize = 32;

/// Reads JSON text.
pub fn read(lua: &Lua, text: &[u8], array: &Table) -> mlua::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let reader = Reader {
        lua,
        array,
        items: RefCell::default(),
        members: RefCell::default(),
    };
    (&reader)
        .deserialize(&mut deserializer)
        .and_then(|item| deserializer.end().map(|()| item))
        .map_err(|error| mlua::Error::runtime(format!("not JSON: {error}")))?
        .into_lua(lua)
}

/// What goes into a table.
type Item<'de> = Either<&'de str, Value>;
/// A member's name; one with escapes is not found in the text as it is.
type Name<'de> = Either<&'de str, String>;

struct Reader<'a, 'de> {
    lua: &'a Lua,
    array: &'a Table,
    /// The first items of the arrays that are being read, those of the innermost last.
    items: RefCell<Vec<Item<'de>>>,
    /// The first members of the objects, likewise.
    members: RefCell<Vec<(Name<'de>, Item<'de>)>>,
}

impl Reader<'_, '_> {
    fn sequence(&self, from: usize) -> mlua::Result<Table> {
        let mut items = self.items.borrow_mut();
        self.lua.create_sequence_from(items.drain(from..))
    }

    fn record(&self, from: usize) -> mlua::Result<Table> {
        let mut members = self.members.borrow_mut();
        self.lua.create_table_from(members.drain(from..))
    }
}

impl<'de> DeserializeSeed<'de> for &Reader<'_, 'de> {
    type Value = Item<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Reader<'_, 'de> {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Item<'de>, E> {
        Ok(Right(Value::NULL))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Item<'de>, E> {
        Ok(Right(Value::Boolean(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Item<'de>, E> {
        Ok(Right(Value::Number(value as f64)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Item<'de>, E> {
        Ok(Right(Value::Number(value as f64)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Item<'de>, E> {
        Ok(Right(Value::Number(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Item<'de>, E> {
        Ok(Left(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Item<'de>, E> {
        let text = self.lua.create_string(value).map_err(failed)?;
        Ok(Right(Value::String(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item<'de>, A::Error> {
        let from = self.items.borrow().len();
        let mut more = true;
        while more && self.items.borrow().len() < from + FEW {
            match seq.next_element_seed(self)? {
                Some(item) => self.items.borrow_mut().push(item),
                None => more = false,
            }
        }
        let mut length = self.items.borrow().len() - from;
        let table = self.sequence(from).map_err(failed)?;
        while more && let Some(item) = seq.next_element_seed(self)? {
            length += 1;
            table.raw_seti(length, item).map_err(failed)?;
        }
        if length == 0 {
            let marked = table.set_metatable(Some(self.array.clone()));
            marked.map_err(failed)?;
        }
        Ok(Right(Value::Table(table)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
        let from = self.members.borrow().len();
        let mut next = || {
            let Some(name) = map.next_key_seed(NameSeed)? else {
                return Ok(None);
            };
            Ok::<_, A::Error>(Some((name, map.next_value_seed(self)?)))
        };
        let is_null = |item: &Item| matches!(item, Right(value) if value.is_null());
        let mut more = true;
        while more && self.members.borrow().len() < from + FEW {
            match next()? {
                Some((_, item)) if is_null(&item) => {}
                Some(member) => self.members.borrow_mut().push(member),
                None => more = false,
            }
        }
        let table = self.record(from).map_err(failed)?;
        while more && let Some((name, item)) = next()? {
            if !is_null(&item) {
                table.raw_set(name, item).map_err(failed)?;
            }
        }
        Ok(Right(Value::Table(table)))
    }
}

/// What keeps the values alive that wait here grows as well, and says something else than the rest
/// when there is no memory for that.
fn failed<E: Error>(error: mlua::Error) -> E {
    match error {
        mlua::Error::StackError => E::custom("not enough memory"),
        error => E::custom(error),
    }
}

struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name<'de>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Left(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Right(name.to_owned()))
    }
}

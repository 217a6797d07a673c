//! The functions that the prelude builds on.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mlua::{Lua, LuaString, Table, Value};

use super::Shared;
use crate::script::lua::{json, show};
use crate::script::wire::Ask;

/// All of them, in a table.
pub(super) fn native(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    let session = &shared.session;
    native.raw_set(
        "show",
        lua.create_function(|_, value: Value| Ok(show(&value)))?,
    )?;
    let s = session.clone();
    let log = move |_: &Lua, (level, text): (LuaString, LuaString)| {
        s.log(&level.to_string_lossy(), &text.to_string_lossy());
        Ok(())
    };
    native.raw_set("log", lua.create_function(log)?)?;
    let s = session.clone();
    let level = move |_: &Lua, level: String| {
        s.set_level(&level);
        Ok(())
    };
    native.raw_set("level", lua.create_function(level)?)?;
    let s = session.clone();
    let status = move |_: &Lua, status: u16| s.set_status(status).map_err(mlua::Error::runtime);
    native.raw_set("status", lua.create_function(status)?)?;
    let s = session.clone();
    let header = move |_: &Lua, (name, value, replace): (String, String, bool)| {
        s.header(&name, &value, replace)
            .map_err(mlua::Error::runtime)
    };
    native.raw_set("header", lua.create_function(header)?)?;
    let s = session.clone();
    let write =
        move |_: &Lua, bytes: LuaString| s.write(&bytes.as_bytes()).map_err(mlua::Error::runtime);
    native.raw_set("write", lua.create_function(write)?)?;
    let s = session.clone();
    let close = move |_: &Lua, ()| {
        s.close();
        Ok(())
    };
    native.raw_set("close", lua.create_function(close)?)?;
    let weak = Rc::downgrade(shared);
    let call = move |lua: &Lua, (method, params): (String, Value)| match weak.upgrade() {
        Some(shared) => shared.ask(lua, Ask::Call(method, to_json(&params)?.into())),
        None => Err(mlua::Error::runtime("over")),
    };
    native.raw_set("call", lua.create_function(call)?)?;
    let weak = Rc::downgrade(shared);
    let publish = move |lua: &Lua, (channel, payload): (String, Value)| match weak.upgrade() {
        Some(shared) => {
            let payload = to_json(&payload)?.into();
            shared.ask(lua, Ask::Publish(channel, payload, false))
        }
        None => Err(mlua::Error::runtime("over")),
    };
    native.raw_set("publish", lua.create_function(publish)?)?;
    let weak = Rc::downgrade(shared);
    let say = move |lua: &Lua, (channel, payload): (String, Value)| match weak.upgrade() {
        Some(shared) => {
            let payload = to_json(&payload)?.into();
            shared.ask(lua, Ask::Publish(channel, payload, true))
        }
        None => Err(mlua::Error::runtime("over")),
    };
    native.raw_set("say", lua.create_function(say)?)?;
    let weak = Rc::downgrade(shared);
    let serve = move |lua: &Lua, (name, arguments): (String, Value)| match weak.upgrade() {
        Some(shared) => shared.ask(lua, Ask::Service(name, to_json(&arguments)?.into())),
        None => Err(mlua::Error::runtime("over")),
    };
    native.raw_set("serve", lua.create_function(serve)?)?;
    let weak = Rc::downgrade(shared);
    let http = move |lua: &Lua, options: Table| match weak.upgrade() {
        Some(shared) => shared.ask(lua, Ask::Http(to_json(&Value::Table(options))?.into())),
        None => Err(mlua::Error::runtime("over")),
    };
    native.raw_set("http", lua.create_function(http)?)?;
    let array = shared.array.clone();
    let parse = move |lua: &Lua, text: LuaString| json::read(lua, &text.as_bytes(), &array);
    native.raw_set("parse", lua.create_function(parse)?)?;
    let serialize = |lua: &Lua, value: Value| lua.create_string(to_json(&value)?);
    native.raw_set("serialize", lua.create_function(serialize)?)?;
    native.raw_set("null", Value::NULL)?;
    let decode = |lua: &Lua, text: LuaString| {
        let bytes = BASE64.decode(text.as_bytes());
        let bytes = bytes.map_err(|_| mlua::Error::runtime("atob: not base64"))?;
        lua.create_string(bytes)
    };
    native.raw_set("atob", lua.create_function(decode)?)?;
    let encode = |_: &Lua, bytes: LuaString| Ok(BASE64.encode(bytes.as_bytes()));
    native.raw_set("btoa", lua.create_function(encode)?)?;
    Ok(native)
}

fn to_json(value: &Value) -> mlua::Result<Vec<u8>> {
    json::write(value).map_err(mlua::Error::runtime)
}

//! What the Lua part of a service builds on.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fancy_regex::{Regex, RegexBuilder};
use mlua::{FromLuaMulti as _, Function, Lua, LuaString, MultiValue, Table, Value};

use super::{json, problem, said};
use crate::script::host::Budget;
use crate::script::lua::show;
use crate::script::service::wire::{Ask, Change, End, FromService, Json, json as text};
use crate::script::wire::Problem;

/// Where frames for the daemon go.
pub type Mouth = Rc<dyn Fn(FromService)>;

/// A line of `log`, and what an error says, is cut off here, in bytes.
const MAX_LINE: usize = 8 * 1024;
/// Regular expressions that are kept compiled.
const MAX_EXPRESSIONS: usize = 64;
/// Steps back of one match.
const MAX_STEPS: usize = 100_000;
/// Names of members that do nothing, told apart; what comes later counts as one.
const MAX_NAMES: usize = 200;
const MAX_NAME: usize = 64;

/// What no service outlives, noted where it happens.
pub(super) struct Last {
    budget: Rc<Budget>,
    /// Memory ran out.
    pub(super) memory: Cell<bool>,
}

impl Last {
    pub(super) fn new(budget: &Rc<Budget>) -> Last {
        Last {
            budget: budget.clone(),
            memory: Cell::new(false),
        }
    }

    /// Where and why a coroutine failed.
    fn look(&self, raised: &Value) -> Problem {
        let (message, stack) = said(raised);
        if message.contains("not enough memory") {
            self.memory.set(true);
        }
        problem(cut(&message), &stack)
    }

    fn has_come(&self) -> bool {
        self.memory.get() || self.budget.stop().is_some()
    }
}

/// The functions, under their names.
pub(super) fn table(
    lua: &Lua,
    chunk: Function,
    array: &Table,
    mouth: &Mouth,
    last: &Rc<Last>,
) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    values(lua, &native, chunk, array)?;
    tells(lua, &native, mouth)?;
    ends(lua, &native, mouth, last)?;
    Ok(native)
}

/// Those that only compute.
fn values(lua: &Lua, native: &Table, chunk: Function, array: &Table) -> mlua::Result<()> {
    let bind = move |_: &Lua, globals: Table| {
        let chunk = chunk.deep_clone()?;
        chunk.set_environment(globals)?;
        Ok(chunk)
    };
    native.raw_set("chunk", lua.create_function(bind)?)?;
    let shown = |_: &Lua, value: Value| match &value {
        Value::Table(table) if has_words(table) => value.to_string(),
        value => Ok(show(value)),
    };
    native.raw_set("show", lua.create_function(shown)?)?;
    let reason = |_: &Lua, raised: Value| Ok(reason(&raised));
    native.raw_set("reason", lua.create_function(reason)?)?;
    let own = array.clone();
    let parse = move |lua: &Lua, text: LuaString| json::read(lua, &text.as_bytes(), &own);
    native.raw_set("parse", lua.create_function(parse)?)?;
    let serialize = |lua: &Lua, value: Value| match json::write(&value) {
        Ok(text) => lua.create_string(text),
        Err(why) => Err(mlua::Error::runtime(why)),
    };
    native.raw_set("serialize", lua.create_function(serialize)?)?;
    let own = array.clone();
    let copy = move |lua: &Lua, value: Value| {
        let text = json::write(&value).map_err(mlua::Error::runtime)?;
        json::read(lua, &text, &own)
    };
    native.raw_set("copy", lua.create_function(copy)?)?;
    native.raw_set("null", Value::NULL)?;
    let sha256 = |_: &Lua, text: LuaString| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text.as_bytes());
        Ok(BASE64.encode(hash))
    };
    native.raw_set("sha256", lua.create_function(sha256)?)?;
    let now = |_: &Lua, ()| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(since.unwrap_or_default().as_secs_f64())
    };
    native.raw_set("now", lua.create_function(now)?)?;
    let known: RefCell<HashMap<String, Regex>> = RefCell::default();
    let regex = move |_: &Lua, (pattern, text): (String, String)| {
        let failed = |error: fancy_regex::Error| mlua::Error::runtime(error);
        let mut known = known.borrow_mut();
        if !known.contains_key(&pattern) {
            if known.len() >= MAX_EXPRESSIONS {
                known.clear();
            }
            let built = RegexBuilder::new(&pattern)
                .backtrack_limit(MAX_STEPS)
                .build();
            known.insert(pattern.clone(), built.map_err(failed)?);
        }
        let found = known.get(&pattern).map(|regex| regex.is_match(&text));
        found.unwrap_or(Ok(false)).map_err(failed)
    };
    native.raw_set("regex", lua.create_function(regex)?)
}

/// Those that tell the daemon something, and those that ask.
fn tells(lua: &Lua, native: &Table, mouth: &Mouth) -> mlua::Result<()> {
    let say = mouth.clone();
    let log = move |_: &Lua, text: LuaString| {
        say(FromService::Log(cut(&text.to_string_lossy()).to_owned()));
        Ok(())
    };
    native.raw_set("log", lua.create_function(log)?)?;
    let (say, names) = (mouth.clone(), RefCell::new(Vec::<String>::new()));
    let ignored = move |_: &Lua, name: LuaString| {
        let mut name = name.to_string_lossy();
        let mut names = names.borrow_mut();
        if !names.contains(&name) {
            if name.len() > MAX_NAME || names.len() >= MAX_NAMES {
                name = "other".into();
            }
            names.push(name.clone());
            names.truncate(MAX_NAMES);
        }
        say(FromService::Ignored(vec![(name, 1)]));
        Ok(())
    };
    native.raw_set("ignored", lua.create_function(ignored)?)?;
    let say = mouth.clone();
    let open = move |_: &Lua, (title, url, pairs): (String, String, Table)| {
        let pair = |pair: mlua::Result<Table>| {
            let pair = pair?;
            Ok((pair.raw_get(1)?, pair.raw_get(2)?))
        };
        let pairs = pairs.sequence_values::<Table>().map(pair);
        let pairs = pairs.collect::<mlua::Result<Vec<_>>>()?;
        say(FromService::Open(title, url, pairs));
        Ok(())
    };
    native.raw_set("open", lua.create_function(open)?)?;
    let say = mouth.clone();
    let send = move |_: &Lua, (title, text): (String, String)| {
        say(FromService::Send(title, text));
        Ok(())
    };
    native.raw_set("send", lua.create_function(send)?)?;
    let say = mouth.clone();
    let remove = move |_: &Lua, title: String| {
        say(FromService::Remove(title));
        Ok(())
    };
    native.raw_set("remove", lua.create_function(remove)?)?;
    let say = mouth.clone();
    let event = move |_: &Lua, (hops, event): (u32, Value)| {
        say(FromService::Say(hops, to_json(&event)?));
        Ok(())
    };
    native.raw_set("say", lua.create_function(event)?)?;
    let say = mouth.clone();
    let ask = move |lua: &Lua,
                    (ask, within, hops, kind, rest): (
        u64,
        Option<u64>,
        u32,
        String,
        MultiValue,
    )| {
        let what = question(lua, &kind, rest)?;
        say(FromService::Ask {
            ask,
            within,
            hops,
            what,
        });
        Ok(())
    };
    native.raw_set("ask", lua.create_function(ask)?)?;
    let say = mouth.clone();
    let drop = move |_: &Lua, ask: u64| {
        say(FromService::Drop(ask));
        Ok(())
    };
    native.raw_set("drop", lua.create_function(drop)?)
}

/// Those that say what became of a coroutine. What is the end of the machine is told once it is
/// left, and nothing else then.
fn ends(lua: &Lua, native: &Table, mouth: &Mouth, last: &Rc<Last>) -> mlua::Result<()> {
    let say = mouth.clone();
    let full = move |_: &Lua, ()| {
        say(FromService::Full);
        Ok(())
    };
    native.raw_set("full", lua.create_function(full)?)?;
    let (say, end) = (mouth.clone(), last.clone());
    let failed = move |_: &Lua, value: Value| {
        let problem = end.look(&value);
        if !end.has_come() {
            say(FromService::Failed(problem));
        }
        Ok(())
    };
    native.raw_set("failed", lua.create_function(failed)?)?;
    let (say, end) = (mouth.clone(), last.clone());
    let replied = move |_: &Lua, (call, ok, value): (u64, bool, Value)| {
        let outcome = match ok {
            true => json::write(&value)
                .map(|bytes| text(String::from_utf8_lossy(&bytes).into_owned()))
                .map_err(|why| problem(&format!("the result: {why}"), "")),
            false => Err(end.look(&value)),
        };
        if !end.has_come() {
            say(FromService::Replied(call, outcome));
        }
        Ok(())
    };
    native.raw_set("replied", lua.create_function(replied)?)?;
    let (say, end) = (mouth.clone(), last.clone());
    let ended = move |_: &Lua, (ok, value): (bool, Value)| {
        let threw = (!ok).then(|| End::Threw(end.look(&value)));
        if !end.has_come() {
            say(FromService::Ended(threw));
        }
        Ok(())
    };
    native.raw_set("ended", lua.create_function(ended)?)
}

fn question(lua: &Lua, kind: &str, rest: MultiValue) -> mlua::Result<Ask> {
    Ok(match kind {
        "Wait" => Ask::Wait(f64::from_lua_multi(rest, lua)?),
        "Call" => {
            let (method, params) = <(String, Value)>::from_lua_multi(rest, lua)?;
            Ask::Call(method, to_json(&params)?)
        }
        "Publish" => {
            let (channel, payload) = <(String, Value)>::from_lua_multi(rest, lua)?;
            Ask::Publish(channel, to_json(&payload)?)
        }
        "Fetch" => Ask::Fetch(to_json(&Value::from_lua_multi(rest, lua)?)?),
        "Subscribe" => Ask::Subscribe(String::from_lua_multi(rest, lua)?),
        "Unsubscribe" => Ask::Unsubscribe(String::from_lua_multi(rest, lua)?),
        "Serve" => {
            let (methods, handler) = <(String, String)>::from_lua_multi(rest, lua)?;
            Ask::Serve(methods, handler)
        }
        "Save" => Ask::Save(String::from_lua_multi(rest, lua)?),
        "KeepUser" => {
            let (user, name, data) = <(String, String, Value)>::from_lua_multi(rest, lua)?;
            Ask::KeepUser(user, name, to_json(&data)?)
        }
        "RecallUser" => {
            let (user, name) = <(String, String)>::from_lua_multi(rest, lua)?;
            Ask::RecallUser(user, name)
        }
        "Currency" => {
            let (user, kind, amount) = <(String, String, Option<f64>)>::from_lua_multi(rest, lua)?;
            let amount = amount.unwrap_or_default();
            let change = match kind.as_str() {
                "Add" => Change::Add(amount),
                "Set" => Change::Set(amount),
                _ => Change::Look,
            };
            Ask::Currency(user, change)
        }
        other => return Err(mlua::Error::runtime(format!("no question: {other}"))),
    })
}

/// A text without what is too much for a line.
fn cut(text: &str) -> &str {
    let fits = |at: &usize| text.is_char_boundary(*at);
    let end = (0..=MAX_LINE.min(text.len())).rev().find(fits);
    &text[..end.unwrap_or(0)]
}

/// Whether a table says by itself what it is.
fn has_words(table: &Table) -> bool {
    let metatable = table.metatable();
    metatable.is_some_and(|metatable| metatable.contains_key("__tostring").unwrap_or(false))
}

/// What a function in here raised, without the words and the trace that are put around it.
fn reason(raised: &Value) -> String {
    let Value::Error(error) = raised else {
        return show(raised);
    };
    let mut error: &mlua::Error = error;
    while let mlua::Error::CallbackError { cause, .. } = error {
        error = cause;
    }
    match error {
        mlua::Error::RuntimeError(message) => message.clone(),
        other => other.to_string(),
    }
}

fn to_json(value: &Value) -> mlua::Result<Json> {
    let bytes = json::write(value).map_err(mlua::Error::runtime)?;
    Ok(text(String::from_utf8_lossy(&bytes).into_owned()))
}

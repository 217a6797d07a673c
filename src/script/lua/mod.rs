//! Lua: Luau in one virtual machine per host, a fresh environment per call.
//!
//! Everything that calls share is read-only (Luau's own sandbox): the libraries, the string
//! metatable, callway's functions. What a script defines lives in its environment, which ends
//! with the call. A machine in which a budget ran out is thrown away.

mod json;
mod service;
mod world;

use std::rc::Rc;

use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value, VmState};

pub use self::service::{Machine, Mouth};
use self::world::World;
use super::host::{Budget, Session};
use super::wire::{End, Problem, Script, Work};

/// How many passes of the interpreter's own clock between two looks at ours.
const STRIDE: u32 = 32;
/// What lets a script look behind the curtain, or load code that was not checked.
const HIDDEN: [&str; 7] = [
    "debug",
    "getfenv",
    "setfenv",
    "loadstring",
    "collectgarbage",
    "require",
    "newproxy",
];

/// A machine before callway adds anything to it.
struct Ground {
    lua: Lua,
    /// The globals, with the libraries.
    base: Table,
    /// Hidden from scripts.
    traceback: Function,
    /// The metatable that marks a table as an array.
    array: Table,
    /// The metatable of an environment that falls back on the globals.
    fallback: Table,
}

impl Ground {
    fn new() -> mlua::Result<Ground> {
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new())?;
        let base = lua.globals();
        let traceback = base.get::<Table>("debug")?.get("traceback")?;
        let array = lua.create_table()?;
        let fallback = lua.create_table()?;
        fallback.raw_set("__index", &base)?;
        for hidden in [&array, &fallback] {
            hidden.raw_set("__metatable", false)?;
            hidden.set_readonly(true);
        }
        Ok(Ground {
            lua,
            base,
            traceback,
            array,
            fallback,
        })
    }
}

/// Runs Lua scripts.
pub struct Engine {
    session: Rc<Session>,
    world: Option<World>,
}

impl Engine {
    /// Without a machine yet.
    pub fn new(session: Rc<Session>) -> Engine {
        Engine {
            session,
            world: None,
        }
    }

    /// Makes the machine, or cleans the one there is, while nobody waits.
    pub fn prepare(&mut self) {
        match &self.world {
            Some(world) => world.tidy(),
            // If it fails now it fails when a call needs it, and is reported there.
            None => self.world = World::new(&self.session).ok(),
        }
    }

    /// Runs a script to its result as JSON text.
    pub fn run(&mut self, work: &Work, script: &Script) -> Result<Vec<u8>, End> {
        let world = match self.world.take() {
            Some(world) => world,
            None => World::new(&self.session).map_err(|error| self.failed(&error.to_string()))?,
        };
        let result = world.run(work, script);
        let result = result.unwrap_or_else(|error| Err(self.failed(&error.to_string())));
        let spoiled = self.session.budget.stop().is_some() || matches!(result, Err(End::Limit(_)));
        if !spoiled {
            self.world = Some(world);
        }
        result
    }

    fn failed(&self, message: &str) -> End {
        if message.contains("not enough memory") {
            return self.session.out_of_memory();
        }
        self.session.threw(problem(message, ""))
    }
}

/// Compiles without running.
pub fn check(path: &str, source: &[u8]) -> Result<(), Problem> {
    compile(&Lua::new(), path, source)
        .map(drop)
        .map_err(|error| problem(&error.to_string(), ""))
}

/// Text only: bytecode from outside is never loaded.
fn compile(lua: &Lua, path: &str, source: &[u8]) -> mlua::Result<Function> {
    lua.load(source)
        .set_name(format!("={path}"))
        .set_mode(mlua::chunk::ChunkMode::Text)
        .into_function()
}

/// Takes away what no script may have.
fn hide(base: &Table) -> mlua::Result<()> {
    let mut hidden = HIDDEN.iter();
    hidden.try_for_each(|name| base.raw_set(*name, Value::Nil))
}

/// Lets the machine's scripts run until their budget is over.
fn stop_at_budget(lua: &Lua, budget: &Rc<Budget>) {
    let (budget, passes) = (budget.clone(), std::cell::Cell::new(0_u32));
    lua.set_interrupt(move |_| {
        passes.set(passes.get().wrapping_add(1));
        if passes.get().is_multiple_of(STRIDE) && budget.over() {
            return Err(mlua::Error::runtime("stopped"));
        }
        Ok(VmState::Continue)
    });
}

/// What was raised, in words, and where: what a prelude's `raised` made of it.
fn said(raised: &Value) -> (String, String) {
    let (value, stack) = match raised {
        Value::Table(raised) => (
            raised.raw_get("value").unwrap_or(Value::Nil),
            raised.raw_get::<String>("stack").unwrap_or_default(),
        ),
        other => (other.clone(), String::new()),
    };
    let message = match &value {
        Value::Table(table) if table.has_metatable() => {
            value.to_string().unwrap_or_else(|_| "table".into())
        }
        Value::Error(error) => error.to_string(),
        value => show(value),
    };
    let frames: Vec<_> = stack.lines().filter(|l| l.starts_with('/')).collect();
    (message, frames.join("\n"))
}

/// Finds file and line in what the interpreter said: `/a.lua:3: message`.
fn problem(message: &str, trace: &str) -> Problem {
    let message = message
        .trim_start_matches("runtime error: ")
        .trim_start_matches("syntax error: ");
    let (text, place) = match place(message) {
        Some((file, line, rest)) => (rest, Some((file, line))),
        None => (
            message,
            trace.lines().find_map(|l| place(l).map(|(f, n, _)| (f, n))),
        ),
    };
    let (file, line) = place.unwrap_or(("", 0));
    Problem {
        message: text.lines().next().unwrap_or_default().to_owned(),
        file: file.to_owned(),
        line,
        column: 0,
        stack: trace.trim_end().to_owned(),
    }
}

/// Splits `/a.lua:3: rest` (a message) or `/a.lua:3 function f` (a line of a trace).
fn place(text: &str) -> Option<(&str, u32, &str)> {
    let (file, rest) = text.split_once(':')?;
    if !file.starts_with('/') {
        return None;
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let line = rest[..digits].parse().ok()?;
    Some((file, line, rest[digits..].trim_start_matches([':', ' '])))
}

/// A value in words, for `print`, `console` and errors that are no strings.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string_lossy(),
        Value::Table(_) => json::write(value)
            .map(|json| String::from_utf8_lossy(&json).into_owned())
            .unwrap_or_else(|_| "table".to_owned()),
        value => value
            .to_string()
            .unwrap_or_else(|_| value.type_name().to_owned()),
    }
}

//! The Luau machine of one service: its script stays, and its coroutines come and go.
//!
//! The scheduler and the global functions are Lua (`coroutines.lua`, `globals.lua`, `app.lua`);
//! what they cannot do by themselves they ask of [`native`](self::native).

mod native;

use std::rc::Rc;
use std::time::Duration;

use mlua::{Function, IntoLuaMulti, Lua, Table, Value};

use self::native::Last;
pub use self::native::Mouth;
use super::{Ground, compile, hide, json, problem, said, stop_at_budget};
use crate::script::host::Budget;
use crate::script::service::wire::{End, Happened, Start, ToService};

/// Runs before the script, in this order.
const PRELUDES: [&str; 3] = [
    include_str!("coroutines.lua"),
    include_str!("globals.lua"),
    include_str!("app.lua"),
];

/// A machine with the script of one service.
pub struct Machine {
    lua: Lua,
    runtime: Table,
    array: Table,
    budget: Rc<Budget>,
    limit: Duration,
    memory: usize,
    last: Rc<Last>,
}

impl Machine {
    /// Compiles the script. What it says goes to `mouth`.
    pub fn new(start: &Start, mouth: &Mouth) -> Result<Machine, End> {
        let limit = Duration::from_micros(start.time_us);
        let budget = Rc::new(Budget::new(limit, Default::default()));
        let machine = Machine::build(start, mouth, &budget, limit);
        machine.map_err(|error| End::Threw(problem(&error.to_string(), "")))
    }

    fn build(
        start: &Start,
        mouth: &Mouth,
        budget: &Rc<Budget>,
        limit: Duration,
    ) -> mlua::Result<Machine> {
        let Ground {
            lua,
            base,
            traceback,
            array,
            fallback,
        } = Ground::new()?;
        let chunk = compile(&lua, &start.path, start.source.as_bytes())?;
        let runtime = lua.create_table()?;
        runtime.raw_set("array", &array)?;
        runtime.raw_set("globals", fallback)?;
        runtime.raw_set("base", &base)?;
        runtime.raw_set("name", start.name.as_str())?;
        runtime.raw_set("message", start.message)?;
        runtime.raw_set("saved", start.saved.as_deref())?;
        let last = Rc::new(Last::new(budget));
        let native = native::table(&lua, chunk, &array, mouth, &last)?;
        hide(&base)?;
        for prelude in PRELUDES {
            lua.load(prelude)
                .set_name("=callway")
                .call::<()>((&native, &traceback, &runtime))?;
        }
        base.raw_set("_G", Value::Nil)?;
        lua.sandbox(true)?;
        stop_at_budget(&lua, budget);
        lua.gc_collect()?;
        let memory = start.memory as usize;
        lua.set_memory_limit(lua.used_memory() + memory)?;
        Ok(Machine {
            lua,
            runtime,
            array,
            budget: budget.clone(),
            limit,
            memory,
            last,
        })
    }

    /// Starts the main coroutine.
    pub fn start(&self) -> Result<(), End> {
        self.enter("start", ())
    }

    /// Takes in what the daemon tells. An error is the end of the service.
    pub fn hear(&self, frame: ToService) -> Result<(), End> {
        let value = |text: &str| {
            let value = json::read(&self.lua, text.as_bytes(), &self.array);
            let nil = |value: Value| if value.is_null() { Value::Nil } else { value };
            value.map(nil).map_err(|error| self.failed(&error))
        };
        match frame {
            ToService::Happened { hops, what } => match what {
                Happened::Socket(title, kind, message, code) => {
                    self.enter("fire", ("websocket", hops, title, kind, message, code))
                }
                Happened::Chat(event) => self.enter("chat", (hops, value(event.get())?)),
                Happened::Channel(channel, event) => {
                    let event = value(event.get())?;
                    let payload = match &event {
                        Value::Table(members) => members.raw_get("payload").unwrap_or(Value::Nil),
                        _ => Value::Nil,
                    };
                    self.enter("fire", (format!("channel {channel}"), hops, payload, event))
                }
            },
            ToService::Call {
                call,
                hops,
                handler,
                params,
                method,
                id,
            } => {
                let about = self.about(&method, &id).map_err(|e| self.failed(&e))?;
                self.enter("call", (call, hops, handler, value(params.get())?, about))
            }
            ToService::Cancel(call) => self.enter("cancel", call),
            ToService::Answer(ask, Ok(answer)) => {
                self.enter("answer", (ask, true, value(answer.get())?))
            }
            ToService::Answer(ask, Err(thrown)) => {
                let data = match &thrown.data {
                    Some(data) => value(data.get())?,
                    None => Value::Nil,
                };
                let fault = self.lua.create_table().and_then(|fault| {
                    fault.raw_set("kind", thrown.kind)?;
                    fault.raw_set("message", thrown.message)?;
                    fault.raw_set("data", data)?;
                    Ok(fault)
                });
                let fault = fault.map_err(|error| self.failed(&error))?;
                self.enter("answer", (ask, false, fault))
            }
            ToService::Start(_) | ToService::Ping => Ok(()),
        }
    }

    fn about(&self, method: &str, id: &str) -> mlua::Result<Table> {
        let about = self.lua.create_table()?;
        about.raw_set("method", method)?;
        about.raw_set("id", id)?;
        Ok(about)
    }

    /// Lets coroutines run until all of them wait.
    fn enter(&self, function: &str, arguments: impl IntoLuaMulti) -> Result<(), End> {
        self.budget.begin();
        let function: mlua::Result<Function> = self.runtime.raw_get(function);
        let entered = function.and_then(|function| function.call::<()>(arguments));
        // A script that caught being stopped gets away with nothing.
        if self.budget.stop().is_some() {
            return Err(End::Limit(format!(
                "CPU time: the script ran for {:?} without waiting; see limits.script_time",
                self.limit
            )));
        }
        entered.map_err(|error| self.failed(&error))?;
        if self.last.memory.get() {
            return Err(self.out_of_memory());
        }
        // The interpreter gives up at the limit without looking for garbage first.
        if self.lua.used_memory() > self.memory / 2 {
            self.lua.gc_collect().map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    fn failed(&self, error: &mlua::Error) -> End {
        let message = error.to_string();
        if message.contains("not enough memory") {
            return self.out_of_memory();
        }
        End::Threw(problem(&message, ""))
    }

    fn out_of_memory(&self) -> End {
        End::Limit(format!(
            "memory: the service needs more than {} bytes; see limits.script_memory",
            self.memory
        ))
    }
}

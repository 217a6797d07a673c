//! One Luau machine: what its scripts share, and the environment that each call gets.

mod native;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mlua::{Function, Lua, LuaString, Table, Value};

use self::native::native;
use super::{Ground, compile, json, problem};
use crate::script::host::Session;
use crate::script::wire::{Ask, End, Script, Thrown, WireForm, Work};

/// Garbage of earlier calls that is worth a collection while nobody waits.
const LITTER: usize = 4 << 20;

/// A machine with everything in it but a call.
pub struct World {
    lua: Lua,
    shared: Rc<Shared>,
    run: Function,
    environment: Function,
    clean: usize,
}

/// What functions of the machine need as well.
struct Shared {
    session: Rc<Session>,
    /// The metatable of environments: what is not found there is looked up in the libraries.
    fallback: Table,
    array: Table,
    compiled: RefCell<HashMap<u32, (Function, Function)>>,
    /// The modules of the running call.
    modules: RefCell<HashMap<u32, Value>>,
    /// Its environment.
    environment: RefCell<Option<Table>>,
    /// The modules that there are without a file.
    core: RefCell<Option<Table>>,
}

impl World {
    pub fn new(session: &Rc<Session>) -> mlua::Result<World> {
        let Ground {
            lua,
            base,
            traceback,
            array,
            fallback,
        } = Ground::new()?;
        super::hide(&base)?;
        let shared = Rc::new(Shared {
            session: session.clone(),
            fallback,
            array,
            compiled: RefCell::default(),
            modules: RefCell::default(),
            environment: RefCell::default(),
            core: RefCell::default(),
        });
        let native = native(&lua, &shared)?;
        let (run, environment, core): (_, _, Table) = lua
            .load(include_str!("prelude.lua"))
            .set_name("=callway")
            .call((native, traceback, &shared.array, &shared.fallback))?;
        *shared.core.borrow_mut() = Some(core);
        base.raw_set("_G", Value::Nil)?;
        lua.sandbox(true)?;
        super::stop_at_budget(&lua, &session.budget);
        lua.gc_collect()?;
        Ok(World {
            clean: lua.used_memory(),
            lua,
            shared,
            run,
            environment,
        })
    }

    /// Collects the garbage of earlier calls.
    pub fn tidy(&self) {
        if self.lua.used_memory() > self.clean + LITTER {
            // A failure shows in the next call.
            self.lua.gc_collect().ok();
        }
    }

    /// Runs a script. The outer error is the machine's.
    pub fn run(&self, work: &Work, script: &Script) -> mlua::Result<Result<Vec<u8>, End>> {
        let session = &self.shared.session;
        self.lua.set_memory_limit(0)?;
        if self.lua.used_memory() > self.clean + session.memory {
            self.lua.gc_collect()?;
        }
        let limit = self.lua.used_memory() + session.memory;
        // What may reach the limit is made in protected calls, and each of them costs.
        if weight(work, script).saturating_mul(json::SWELL) > session.memory {
            self.lua.set_memory_limit(limit)?;
        }
        let environment = self.environment(work, script)?;
        let (function, require) = self.shared.load(&self.lua, script)?;
        environment.raw_set("require", require)?;
        function.set_environment(environment.clone())?;
        *self.shared.environment.borrow_mut() = Some(environment);
        self.lua.set_memory_limit(limit)?;
        let outcome = self.run.call::<(bool, Value)>(function);
        self.lua.set_memory_limit(0)?;
        self.shared.modules.borrow_mut().clear();
        *self.shared.environment.borrow_mut() = None;
        let (ok, value) = outcome?;
        if ok {
            return Ok(json::write(&value)
                .map_err(|message| session.threw(problem(&format!("the result: {message}"), ""))));
        }
        Ok(Err(self.threw(&value)))
    }

    fn threw(&self, raised: &Value) -> End {
        let session = &self.shared.session;
        let (message, stack) = super::said(raised);
        if message.contains("not enough memory") {
            return session.out_of_memory();
        }
        if message.contains("stack overflow") {
            return session.out_of_stack();
        }
        session.threw(problem(&message, &stack))
    }

    /// The globals of one call.
    fn environment(&self, work: &Work, script: &Script) -> mlua::Result<Table> {
        let lua = &self.lua;
        let body = match work.form {
            WireForm::Json => json::read(lua, &work.params, &self.shared.array)?,
            WireForm::Text => Value::String(lua.create_string(&work.params)?),
            WireForm::Binary => Value::String(lua.create_string(BASE64.encode(&work.params))?),
        };
        let body = if body.is_null() { Value::Nil } else { body };
        let http = work.http.as_ref();
        let raw = match (http.and_then(|http| http.raw_body.as_ref()), &body) {
            (Some(raw), _) => lua.create_string(raw)?,
            (None, Value::String(text)) => text.clone(),
            (None, Value::Nil) => lua.create_string("")?,
            (None, _) => lua.create_string(&work.params)?,
        };
        let parameters = match &body {
            Value::Table(table) if work.params.trim_ascii_start().first() == Some(&b'{') => {
                Some(table.clone())
            }
            _ => None,
        };
        let headers = match http {
            None => None,
            Some(http) => {
                let headers = lua.create_table()?;
                for (name, value) in &http.headers {
                    headers.raw_set(name.to_ascii_lowercase(), value.as_str())?;
                }
                Some(headers)
            }
        };
        let files = match http.and_then(|http| http.files.as_ref()) {
            Some(files) => json::read(lua, files, &self.shared.array)?,
            None => Value::Nil,
        };
        // The generator's state is shared by all calls; nobody may foresee another's numbers.
        let seed = self.shared.session.seed() as u32;
        let uri = http.map_or_else(|| format!("/{}", work.method), |http| http.path.clone());
        self.environment.call((
            seed,
            body,
            raw,
            parameters,
            headers,
            work.call_id.to_string(),
            http.map_or("POST", |http| http.verb.as_str()),
            uri,
            http.map_or("", |http| http.query.as_str()),
            script.path.trim_start_matches('/'),
            &*work.caller,
            files,
            &*work.account,
        ))
    }
}

/// Bytes that a call comes with, and its script: nearly all that a machine has to take in.
fn weight(work: &Work, script: &Script) -> usize {
    let http = work.http.as_ref().map_or(0, |http| {
        let header = |(name, value): &(String, String)| name.len() + value.len() + ": \r\n".len();
        let headers: usize = http.headers.iter().map(header).sum();
        headers + http.path.len() + http.query.len()
    });
    work.weight() + http + script.source.len()
}

impl Shared {
    /// A script as a function without an environment of its own yet, and its `require`.
    fn load(self: &Rc<Self>, lua: &Lua, script: &Script) -> mlua::Result<(Function, Function)> {
        if let Some((function, require)) = self.compiled.borrow().get(&script.number) {
            return Ok((function.deep_clone()?, require.clone()));
        }
        let function = compile(lua, &script.path, &script.source)?;
        let (shared, from) = (Rc::downgrade(self), script.path.clone());
        let require = lua.create_function(move |lua, path: LuaString| {
            let shared = shared
                .upgrade()
                .ok_or_else(|| mlua::Error::runtime("over"))?;
            shared.require(lua, &path.to_string_lossy(), &from)
        })?;
        let clone = function.deep_clone()?;
        self.compiled
            .borrow_mut()
            .insert(script.number, (function, require.clone()));
        Ok((clone, require))
    }

    /// `require`: a core module; what a module returned, what it put into `exports`, or its globals.
    fn require(self: &Rc<Self>, lua: &Lua, path: &str, from: &str) -> mlua::Result<Value> {
        if let Some(core) = &*self.core.borrow()
            && let module @ Value::Table(_) = core.raw_get(path)?
        {
            return Ok(module);
        }
        let script = self
            .session
            .module(path, from)
            .map_err(|thrown| mlua::Error::runtime(thrown.message))?;
        if let Some(value) = self.modules.borrow().get(&script.number) {
            return Ok(value.clone());
        }
        let exports = lua.create_table()?;
        let module = lua.create_table()?;
        module.raw_set("exports", &exports)?;
        let (function, require) = self.load(lua, &script)?;
        let own = lua.create_table()?;
        own.raw_set("exports", &exports)?;
        own.raw_set("module", &module)?;
        own.raw_set("require", require)?;
        own.set_metatable(Some(inherit(lua, self.environment.borrow().as_ref())?))?;
        let globals = lua.create_table()?;
        globals.set_metatable(Some(inherit(lua, Some(&own))?))?;
        // Those who require it while it is being loaded see what is there so far.
        exports.set_metatable(Some(inherit(lua, Some(&globals))?))?;
        let early = Value::Table(exports.clone());
        self.modules.borrow_mut().insert(script.number, early);
        function.set_environment(globals.clone())?;
        let returned: Value = function.call(())?;
        exports.set_metatable(None)?;
        let replaced: Value = module.raw_get("exports")?;
        let value = if !returned.is_nil() {
            returned
        } else if replaced != Value::Table(exports.clone()) {
            replaced
        } else if exports.pairs::<Value, Value>().next().is_some() {
            Value::Table(exports)
        } else {
            exports.set_metatable(Some(inherit(lua, Some(&globals))?))?;
            Value::Table(globals)
        };
        self.modules
            .borrow_mut()
            .insert(script.number, value.clone());
        Ok(value)
    }

    /// `true` and the value, or `false` and the fault.
    fn ask(&self, lua: &Lua, ask: Ask) -> mlua::Result<(bool, Value)> {
        match self.session.ask(ask) {
            Ok(text) if text.is_empty() => Ok((true, Value::Nil)),
            Ok(text) => {
                let value = json::read(lua, &text, &self.array)?;
                Ok((true, if value.is_null() { Value::Nil } else { value }))
            }
            Err(Thrown {
                kind,
                message,
                data,
            }) => {
                let fault = lua.create_table()?;
                fault.raw_set("kind", kind)?;
                fault.raw_set("message", message)?;
                if !data.is_empty() {
                    fault.raw_set("data", json::read(lua, &data, &self.array)?)?;
                }
                Ok((false, Value::Table(fault)))
            }
        }
    }
}

fn inherit(lua: &Lua, from: Option<&Table>) -> mlua::Result<Table> {
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", from)?;
    metatable.raw_set("__metatable", false)?;
    Ok(metatable)
}

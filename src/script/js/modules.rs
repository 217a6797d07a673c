//! `require`: core modules and other scripts, loaded at most once in a call.

use std::cell::RefCell;
use std::rc::Rc;

use rquickjs::{Coerced, Ctx, Error, Function, Object, Persistent, Value};

use super::core;
use super::function::function;
use super::globals::throw;
use super::names::top_level;
use super::world::{compile, options};
use crate::script::host::Session;

/// The modules of one call; nothing before the first `require`.
#[derive(Default)]
pub struct Modules(Rc<RefCell<Option<Kept>>>);

/// The `require` of the script that was called.
type Kept = Persistent<Function<'static>>;

impl Modules {
    /// `require` as the script at `path` sees it.
    pub fn require<'js>(
        &self,
        ctx: &Ctx<'js>,
        session: &Rc<Session>,
        path: &str,
    ) -> Result<Function<'js>, Error> {
        let (kept, session, from) = (self.0.clone(), session.clone(), path.to_owned());
        let require = move |ctx: Ctx<'js>, path: Coerced<String>| {
            let found = kept.borrow().clone();
            let require = match found {
                Some(require) => require.restore(&ctx)?,
                None => {
                    let require = make(&ctx, &session, &from)?;
                    *kept.borrow_mut() = Some(Persistent::save(&ctx, require.clone()));
                    require
                }
            };
            require.call::<_, Value>((path.0,))
        };
        function(ctx, require)
    }

    /// Lets go of what the interpreter's own collector cannot see.
    pub fn forget(&self) {
        self.0.borrow_mut().take();
    }
}

fn make<'js>(ctx: &Ctx<'js>, session: &Rc<Session>, from: &str) -> Result<Function<'js>, Error> {
    let session = session.clone();
    let load = move |ctx: Ctx<'js>, path: String, from: String| load(&ctx, &session, &path, &from);
    let load = function(ctx, load)?;
    let prelude: Function = ctx.eval_with_options(include_str!("require.js"), options(""))?;
    prelude.call((load, from))
}

/// A module, compiled: `{path, code}`; or `{core}`, one that is there without a file.
fn load<'js>(
    ctx: &Ctx<'js>,
    session: &Rc<Session>,
    path: &str,
    from: &str,
) -> Result<Object<'js>, Error> {
    let found = Object::new(ctx.clone())?;
    if let Some(module) = core::module(ctx, session, path)? {
        found.set("core", module)?;
        return Ok(found);
    }
    let script = session
        .module(path, from)
        .map_err(|thrown| throw(ctx, &thrown))?;
    // Comes to be at its end: the names as property descriptors that read and write them.
    let mut tail = String::from("\n;return {");
    for name in top_level(&String::from_utf8_lossy(&script.source)) {
        tail.push_str(&format!(
            "{name}:typeof {name}==='undefined'?undefined:{{enumerable:true,get:function(){{return {name}}},set:function(v){{{name}=v}}}},"
        ));
    }
    tail.push('}');
    core::define(ctx, session, script.mentions)?;
    let code = compile(ctx, &script.path, &script.source, &tail)?;
    found.set("path", script.path)?;
    found.set("code", code)?;
    Ok(found)
}

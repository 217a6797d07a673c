//! `require`: modules from the script directory, and those that there are without a file.

use std::rc::Rc;

use rquickjs::{Ctx, Error, Function, Object};

use super::globals::throw;
use super::names::top_level;
use super::script::{compile, options};
use crate::script::host::Session;

/// What makes a `require` for the script at a path. `own` are the modules without a file.
pub fn require<'js>(
    ctx: &Ctx<'js>,
    session: &Rc<Session>,
    own: Object<'js>,
) -> Result<Function<'js>, Error> {
    let session = session.clone();
    let load = move |ctx: Ctx<'js>, path: String, from: String| load(&ctx, &session, &path, &from);
    let load = Function::new(ctx.clone(), load)?;
    let prelude: Function = ctx.eval_with_options(include_str!("require.js"), options(""))?;
    prelude.call((load, own))
}

/// A module, compiled: `{path, code}`.
fn load<'js>(
    ctx: &Ctx<'js>,
    session: &Rc<Session>,
    path: &str,
    from: &str,
) -> Result<Object<'js>, Error> {
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
    let found = Object::new(ctx.clone())?;
    found.set("code", compile(ctx, &script.path, &script.source, &tail)?)?;
    found.set("path", script.path)?;
    Ok(found)
}

//! `require`: modules from the script directory, and those that there are without a file.

use std::rc::Rc;

use rquickjs::{Ctx, Error, Function, Object};

use super::core;
use super::globals::throw;
use super::names::top_level;
use super::realm::Natives;
use super::script::{compile, options};
use crate::script::host::Session;

/// `core()`, which defines what is built in, and `requireFrom(path)`, which makes the `require` of
/// the script at a path; and `textOf`, for [`compile`].
pub fn prelude<'js>(natives: &Natives<'js>, session: &Rc<Session>) -> Result<Object<'js>, Error> {
    let s = session.clone();
    let load = move |ctx: Ctx<'js>, path: String, from: String, text_of: Function<'js>| {
        load(&ctx, &s, &path, &from, &text_of)
    };
    let load = natives.function(load)?;
    let make: Function = natives
        .ctx()
        .eval_with_options(include_str!("require.js"), options(""))?;
    make.call((
        load,
        core::compiler(natives)?,
        core::serve(natives, session)?,
    ))
}

/// A module, compiled: `{path, code, wantsCore}`.
fn load<'js>(
    ctx: &Ctx<'js>,
    session: &Rc<Session>,
    path: &str,
    from: &str,
    text_of: &Function<'js>,
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
    found.set(
        "code",
        compile(ctx, text_of, &script.path, &script.source, &tail)?,
    )?;
    found.set("wantsCore", core::is_wanted(&script.source))?;
    found.set("path", script.path)?;
    Ok(found)
}

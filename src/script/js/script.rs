//! One script in a context: what it finds there, how it gets there, how it runs.

use std::rc::Rc;

use rquickjs::context::EvalOptions;
use rquickjs::function::This;
use rquickjs::{CatchResultExt, Context, Ctx, Error, Exception, Function, Object, Value};

use super::outcome::{failed, problem, settle};
use super::realm::Natives;
use super::{core, globals, modules, request};
use crate::script::host::Session;
use crate::script::wire::{End, Problem, Script, Work};

/// Stands in front of each script, so that `return` works at its top level and its variables are
/// its own. On the first line, so that lines keep their numbers. Without the space that there is in
/// the text of functions that are not written in JavaScript: see [`compile`].
pub const HEAD: &str = "(function(require,exports,module){";

/// Makes what every script finds, and returns what [`load`] and [`run`] need of it. No script can
/// come to that: it inherits nothing.
pub fn define<'js>(natives: &Natives<'js>, session: &Rc<Session>) -> Result<Object<'js>, Error> {
    globals::define(natives, session)?;
    let root = modules::prelude(natives, session)?;
    request::define(natives, &root)?;
    Ok(root)
}

/// Compiles the script that is to run.
pub fn load<'js>(
    ctx: &Ctx<'js>,
    root: &Object<'js>,
    session: &Session,
    script: &Script,
) -> Result<(), End> {
    let load = || {
        if core::is_wanted(&script.source) {
            root.get::<_, Function>("core")?.call::<_, ()>(())?;
        }
        let require: Function = root.get("requireFrom")?;
        let require: Function = require.call((script.path.as_str(),))?;
        root.set("require", require)?;
        let text_of: Function = root.get("textOf")?;
        let compiled = compile(ctx, &text_of, &script.path, &script.source, "")?;
        root.set("script", compiled)?;
        request::offer(root, script)
    };
    load().catch(ctx).map_err(|error| failed(session, &error))
}

/// Runs what was loaded, to its result as JSON text.
pub fn run<'js>(
    ctx: &Ctx<'js>,
    root: &Object<'js>,
    session: &Session,
    work: &Work,
) -> Result<Vec<u8>, End> {
    let run = || {
        request::fill(ctx, root, work)?;
        let (function, require): (Function, Function) = (root.get("script")?, root.get("require")?);
        let value: Value = function.call((This(ctx.globals()), require))?;
        settle(ctx, value, session)
    };
    let text = run().catch(ctx);
    text.map_err(|error| failed(session, &error))?
}

/// Compiles without running.
pub fn check(context: &Context, path: &str, source: &[u8]) -> Result<(), Problem> {
    context.with(|ctx| {
        let text_of = ctx.eval_with_options("Function.prototype.toString", options(""));
        let compiled = text_of.and_then(|text_of| compile(&ctx, &text_of, path, source, ""));
        let compiled = compiled.catch(&ctx);
        compiled.map(drop).map_err(|error| problem(&error))
    })
}

pub fn options(path: &str) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(path.to_owned());
    options
}

/// The function that a script becomes. `text_of` is the language's own `toString` of functions: a
/// text that closes the function around it would be more than that function.
pub fn compile<'js>(
    ctx: &Ctx<'js>,
    text_of: &Function<'js>,
    path: &str,
    source: &[u8],
    tail: &str,
) -> Result<Function<'js>, Error> {
    let refused = |why: &str| Exception::throw_syntax(ctx, &format!("{path}: {why}"));
    let source = std::str::from_utf8(source);
    let source = source.map_err(|_| refused("the script is not UTF-8"))?;
    let text = format!("{HEAD}{source}\n{tail}}})");
    let value: Value = ctx.eval_with_options(text.as_str(), options(path))?;
    if let Some(function) = value.into_function() {
        let own: rquickjs::String = text_of.call((This(function.clone()),))?;
        let own = own.to_string().map_err(|_| Error::Allocation)?;
        if own == text[1..text.len() - 1] {
            return Ok(function);
        }
    }
    Err(refused(
        "the script closes the function around it: there is a `}` too many",
    ))
}

//! scriptr's modules and built-in objects, which are written in JavaScript.

use std::rc::Rc;

use rquickjs::{Coerced, Ctx, Error, Function, Object, Value};

use super::globals::{ask, text};
use super::script::options;
use crate::script::host::Session;
use crate::script::wire::Ask;

/// Defines the built-in objects and returns the modules that there are without a file.
pub fn define<'js>(ctx: &Ctx<'js>, session: &Rc<Session>) -> Result<Object<'js>, Error> {
    let make: Function = ctx.eval_with_options(include_str!("core.js"), options(""))?;
    let session = session.clone();
    let serve = move |ctx: Ctx<'js>, name: Coerced<String>, arguments: Value<'js>| {
        let arguments = text(&ctx, Some(arguments))?;
        ask(&ctx, &session, Ask::Service(name.0, arguments.into()))
    };
    let globals = ctx.globals();
    let http: Object = globals.get("http")?;
    let (say, request, publish): (Value, Value, Value) = (
        globals.get("console")?,
        http.get("request")?,
        globals.get("publish")?,
    );
    let serve = Function::new(ctx.clone(), serve)?;
    make.call((serve, say, request, publish))
}

//! scriptr's modules and built-in objects, which are written in JavaScript.

use std::rc::Rc;

use rquickjs::{Coerced, Ctx, Error, Function, Value};

use super::globals::{ask, text};
use super::script::options;
use crate::script::host::Session;
use crate::script::wire::Ask;

/// What they are found by.
const NAMES: [&str; 15] = [
    "require",
    "storage",
    "subscribe",
    "schedule",
    "unschedule",
    "isIdInAcl",
    "configuration",
    "isGroupInAcl",
    "runAs",
    "sendMail",
    "jsonToXml",
    "xmlToJson",
    "push",
    "pushToGroup",
    "tweet",
];

/// Whether a script's text has any of the names. Most scripts do without, and their contexts are
/// smaller by a third then.
pub fn is_wanted(source: &[u8]) -> bool {
    // What is not UTF-8 does not compile.
    let source = std::str::from_utf8(source).unwrap_or_default();
    NAMES.iter().any(|name| source.contains(name))
}

/// A function that compiles what makes them.
pub fn compiler<'js>(ctx: &Ctx<'js>) -> Result<Function<'js>, Error> {
    let compile = |ctx: Ctx<'js>| -> Result<Function<'js>, Error> {
        ctx.eval_with_options(include_str!("core.js"), options(""))
    };
    Function::new(ctx.clone(), compile)
}

/// A function through which they ask the daemon.
pub fn serve<'js>(ctx: &Ctx<'js>, session: &Rc<Session>) -> Result<Function<'js>, Error> {
    let session = session.clone();
    let serve = move |ctx: Ctx<'js>, name: Coerced<String>, arguments: Value<'js>| {
        let arguments = text(&ctx, Some(arguments))?;
        ask(&ctx, &session, Ask::Service(name.0, arguments.into()))
    };
    Function::new(ctx.clone(), serve)
}

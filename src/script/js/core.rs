//! scriptr's modules and built-in objects, made when a script touches the first of them.

use std::rc::Rc;

use rquickjs::object::Property;
use rquickjs::{Coerced, Ctx, Error, Exception, Function, Object, Value};

use super::function::{Accessor, function};
use super::globals::{ask, text};
use super::world::options;
use crate::script::host::Session;
use crate::script::mentions::Mentions;
use crate::script::wire::Ask;

/// The modules that there are without a file.
pub const MODULES: [&str; 7] = [
    "http", "log", "pubsub", "channel", "storage", "mqtt", "queue",
];
/// Defines the names that a script mentions; nothing is made yet. It may use each for something of
/// its own. Most scripts mention none, and each call begins with this.
pub fn define<'js>(ctx: &Ctx<'js>, session: &Rc<Session>, mentions: Mentions) -> Result<(), Error> {
    let globals = ctx.globals();
    let wanted = |name: &&str| !globals.contains_key(*name).unwrap_or(true);
    for name in mentions.globals().filter(wanted) {
        let session = session.clone();
        let get = move |ctx: Ctx<'js>| {
            let globals: Object = core(&ctx, &session)?.get("globals")?;
            let value: Value = globals.get(name)?;
            own(&ctx, name, value.clone())?;
            Ok::<_, Error>(value)
        };
        lazy(ctx, name, get)?;
    }
    for name in mentions.missing().filter(wanted) {
        let refuse = move |ctx: Ctx<'js>| -> Result<Value<'js>, Error> {
            let message = format!("{name} is not provided by callway");
            Err(Exception::throw_message(&ctx, &message))
        };
        lazy(ctx, name, refuse)?;
    }
    Ok(())
}

/// A module, if it is one of these.
pub fn module<'js>(
    ctx: &Ctx<'js>,
    session: &Rc<Session>,
    name: &str,
) -> Result<Option<Value<'js>>, Error> {
    if !MODULES.contains(&name) {
        return Ok(None);
    }
    let modules: Object = core(ctx, session)?.get("modules")?;
    modules.get(name).map(Some)
}

fn core<'js>(ctx: &Ctx<'js>, session: &Rc<Session>) -> Result<Object<'js>, Error> {
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
    make.call((function(ctx, serve)?, say, request, publish))
}

/// A global that is made when it is touched, and replaced when it is set.
fn lazy<'js, G, P>(ctx: &Ctx<'js>, name: &'static str, get: G) -> Result<(), Error>
where
    G: rquickjs::function::IntoJsFunc<'js, P> + 'js,
{
    let set = move |ctx: Ctx<'js>, value: Value<'js>| own(&ctx, name, value);
    let (get, set) = (function(ctx, get)?, function(ctx, set)?);
    ctx.globals().prop(name, Accessor { get, set })
}

fn own<'js>(ctx: &Ctx<'js>, name: &str, value: Value<'js>) -> Result<(), Error> {
    let property = Property::from(value).writable().enumerable().configurable();
    ctx.globals().prop(name, property)
}

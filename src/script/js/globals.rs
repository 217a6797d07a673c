//! What every script finds beside the language.

use std::cell::RefCell;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rquickjs::function::{Opt, Rest};
use rquickjs::{Coerced, Ctx, Error, Exception, Function, Object, Value};

use super::realm::Natives;
use crate::script::host::Session;
use crate::script::wire::{Ask, Thrown};

/// Defines all of it. In Rust, because there is nothing to parse then.
pub fn define<'js>(natives: &Natives<'js>, session: &Rc<Session>) -> Result<(), Error> {
    let ctx = natives.ctx();
    let globals = ctx.globals();
    globals.set("console", console(natives, session)?)?;
    globals.set("response", response(natives, session)?)?;
    let callway = Object::new(ctx.clone())?;
    let s = session.clone();
    let call = move |ctx: Ctx<'js>, method: Coerced<String>, params: Opt<Value<'js>>| {
        let params = text(&ctx, params.0)?;
        ask(&ctx, &s, Ask::Call(method.0, params.into()))
    };
    callway.set("call", natives.function(call)?)?;
    callway.set("publish", publish(natives, session, false)?)?;
    globals.set("callway", callway)?;
    globals.set("publish", publish(natives, session, true)?)?;
    let http = Object::new(ctx.clone())?;
    let s = session.clone();
    let request = move |ctx: Ctx<'js>, options: Opt<Value<'js>>| {
        let options = text(&ctx, options.0)?;
        ask(&ctx, &s, Ask::Http(options.into()))
    };
    http.set("request", natives.function(request)?)?;
    globals.set("http", http)?;
    let atob = |ctx: Ctx<'js>, text: Coerced<String>| {
        let bytes = BASE64.decode(text.trim());
        let bytes = bytes.map_err(|_| Exception::throw_type(&ctx, "atob: not base64"))?;
        Ok::<_, Error>(bytes.into_iter().map(char::from).collect::<String>())
    };
    globals.set("atob", natives.function(atob)?)?;
    let btoa = |ctx: Ctx<'js>, text: Coerced<String>| {
        let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
        let bytes =
            bytes.map_err(|_| Exception::throw_type(&ctx, "btoa: a character above 255"))?;
        Ok::<_, Error>(BASE64.encode(bytes))
    };
    globals.set("btoa", natives.function(btoa)?)?;
    let math: Object = globals.get("Math")?;
    math.set("random", random(natives, session)?)
}

/// The engine's own generator is set back with the rest, and would say the same in each call. This
/// one begins anew in each, so that nobody can foresee another's numbers.
fn random<'js>(natives: &Natives<'js>, session: &Rc<Session>) -> Result<Function<'js>, Error> {
    let session = session.clone();
    let generator = RefCell::new((0, fastrand::Rng::with_seed(0)));
    let random = move || {
        let (mut generator, seed) = (generator.borrow_mut(), session.seed());
        if generator.0 != seed {
            *generator = (seed, fastrand::Rng::with_seed(seed));
        }
        generator.1.f64()
    };
    natives.function(random)?.with_name("random")
}

/// Publishes and waits until the event is kept. `bare` sends a string as it is, not as JSON.
fn publish<'js>(
    natives: &Natives<'js>,
    session: &Rc<Session>,
    bare: bool,
) -> Result<Function<'js>, Error> {
    let s = session.clone();
    let publish = move |ctx: Ctx<'js>, channel: Coerced<String>, payload: Opt<Value<'js>>| {
        let payload = text(&ctx, payload.0)?;
        let kept = ask(&ctx, &s, Ask::Publish(channel.0, payload.into(), bare))?;
        if let Some(receipt) = kept.as_object().filter(|_| bare) {
            // scriptr's scripts look at the status.
            let metadata = Object::new(ctx.clone())?;
            metadata.set("status", "success")?;
            metadata.set("statusCode", "200")?;
            receipt.set("metadata", metadata)?;
        }
        Ok::<_, Error>(kept)
    };
    natives.function(publish)
}

fn console<'js>(natives: &Natives<'js>, session: &Rc<Session>) -> Result<Object<'js>, Error> {
    let ctx = natives.ctx();
    let console = Object::new(ctx.clone())?;
    for (name, level) in [
        ("log", "info"),
        ("info", "info"),
        ("warn", "warn"),
        ("error", "error"),
        ("debug", "debug"),
    ] {
        let s = session.clone();
        let say = move |ctx: Ctx<'js>, values: Rest<Value<'js>>| {
            let shown: Result<Vec<_>, _> = values.0.into_iter().map(|v| show(&ctx, v)).collect();
            s.log(level, &shown?.join(" "));
            Ok::<_, Error>(())
        };
        console.set(name, natives.function(say)?)?;
    }
    let s = session.clone();
    let level = move |level: Coerced<String>| s.set_level(&level);
    console.set("setLevel", natives.function(level)?)?;
    Ok(console)
}

fn response<'js>(natives: &Natives<'js>, session: &Rc<Session>) -> Result<Object<'js>, Error> {
    let ctx = natives.ctx();
    let response = Object::new(ctx.clone())?;
    let s = session.clone();
    let status = move |ctx: Ctx<'js>, status: Coerced<f64>| {
        let whole = if status.0.fract() == 0.0 {
            status.0 as u16
        } else {
            0
        };
        s.set_status(whole)
            .map_err(|text| Exception::throw_type(&ctx, text))
    };
    response.set("setStatus", natives.function(status)?)?;
    let s = session.clone();
    let header = move |ctx: Ctx<'js>, name: Coerced<String>, value: Coerced<String>| {
        s.header(&name, &value, true)
            .map_err(|text| Exception::throw_type(&ctx, text))
    };
    response.set("setHeader", natives.function(header)?)?;
    let s = session.clone();
    let headers = move |ctx: Ctx<'js>, headers: Object<'js>| {
        for pair in headers.props::<String, Coerced<String>>() {
            let (name, value) = pair?;
            s.header(&name, &value, false)
                .map_err(|text| Exception::throw_type(&ctx, text))?;
        }
        Ok::<_, Error>(())
    };
    response.set("addHeaders", natives.function(headers)?)?;
    let s = session.clone();
    let write = move |ctx: Ctx<'js>, value: Value<'js>| {
        s.write(show(&ctx, value)?.as_bytes())
            .map_err(|text| Exception::throw_range(&ctx, text))
    };
    response.set("write", natives.function(write)?)?;
    response.set("flush", natives.function(|| {})?)?;
    let s = session.clone();
    response.set("close", natives.function(move || s.close())?)?;
    Ok(response)
}

/// A value in words.
fn show<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Result<String, Error> {
    if let Some(error) = value.as_exception() {
        let stack = error.stack().unwrap_or_default();
        let words = value.get::<Coerced<String>>()?.0;
        return Ok(format!("{words}\n{stack}").trim_end().to_owned());
    }
    if value.is_object() && !value.is_function() {
        match ctx.json_stringify(value.clone()) {
            Ok(Some(json)) => return json.to_string(),
            Ok(None) => {}
            // One that contains itself, for example; the thrown error is dropped.
            Err(_) => drop(ctx.catch()),
        }
    }
    Ok(value.get::<Coerced<String>>()?.0)
}

/// A value as JSON text; `null` for what has none.
pub fn text<'js>(ctx: &Ctx<'js>, value: Option<Value<'js>>) -> Result<String, Error> {
    let json = match value {
        Some(value) => ctx.json_stringify(value)?,
        None => None,
    };
    json.map_or_else(|| Ok("null".to_owned()), |json| json.to_string())
}

/// Asks the daemon, and throws what it refuses.
pub fn ask<'js>(ctx: &Ctx<'js>, session: &Session, ask: Ask) -> Result<Value<'js>, Error> {
    let json = session.ask(ask).map_err(|thrown| throw(ctx, &thrown))?;
    match json.is_empty() {
        true => Ok(Value::new_undefined(ctx.clone())),
        false => ctx.json_parse(&json[..]),
    }
}

/// An `Error` with the fault's kind and data.
pub fn throw(ctx: &Ctx<'_>, thrown: &Thrown) -> Error {
    let build = || {
        let exception = Exception::from_message(ctx.clone(), &thrown.message)?;
        exception.set("kind", thrown.kind.as_str())?;
        if !thrown.data.is_empty() {
            exception.set("data", ctx.json_parse::<_>(&thrown.data[..])?)?;
        }
        Ok(exception.throw())
    };
    build().unwrap_or_else(|error: Error| error)
}

//! One QuickJS runtime with what a script finds in it.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rquickjs::context::EvalOptions;
use rquickjs::function::This;
use rquickjs::promise::PromiseState;
use rquickjs::{
    CatchResultExt, CaughtError, Context, Ctx, Error, Exception, Function, Object, Persistent,
    Promise, Runtime, Value,
};

use super::names::top_level;
use crate::script::host::Session;
use crate::script::wire::{Ask, End, Problem, Script, Thrown, WireForm, Work};

/// What a runtime takes up before a script does anything.
const OWN_MEMORY: usize = 1 << 20;
const MAX_STACK: usize = 512 * 1024;
/// Stands in front of each script, so that `return` works at its top level and its variables are
/// its own. On the first line, so that lines keep their numbers.
const HEAD: &str = "(function(require,exports,module){";

/// A runtime that waits for its one call.
pub struct World {
    ahead: Option<(u32, Persistent<Function<'static>>)>,
    tools: Persistent<Object<'static>>,
    context: Context,
    runtime: Runtime,
    session: Rc<Session>,
}

impl World {
    pub fn new(session: &Rc<Session>, ahead: Option<&Script>) -> Result<World, Error> {
        let runtime = Runtime::new()?;
        runtime.set_memory_limit(session.memory + OWN_MEMORY);
        runtime.set_max_stack_size(MAX_STACK);
        let budget = session.budget.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || budget.over())));
        let context = Context::full(&runtime)?;
        let (tools, ahead) = context.with(|ctx| {
            let prelude: Function =
                ctx.eval_with_options(include_str!("prelude.js"), options(""))?;
            let tools: Object = prelude.call((native(&ctx, session)?, ctx.globals()))?;
            // One that does not compile is reported when it is called.
            let ahead = ahead.and_then(|script| {
                let function = compile(&ctx, &script.path, &script.source, "");
                let function = function.catch(&ctx).ok()?;
                Some((script.number, Persistent::save(&ctx, function)))
            });
            Ok::<_, Error>((Persistent::save(&ctx, tools), ahead))
        })?;
        Ok(World {
            ahead,
            tools,
            context,
            runtime,
            session: session.clone(),
        })
    }

    pub fn check(path: &str, source: &[u8]) -> Result<(), Problem> {
        let own = |error: Error| Problem {
            message: error.to_string(),
            ..Problem::default()
        };
        let context = Context::full(&Runtime::new().map_err(own)?).map_err(own)?;
        context.with(|ctx| {
            let compiled = compile(&ctx, path, source, "").catch(&ctx);
            compiled.map(drop).map_err(|error| problem(&error))
        })
    }

    pub fn run(self, work: &Work, script: &Script) -> Result<Vec<u8>, End> {
        let World {
            ahead,
            tools,
            context,
            runtime,
            session,
        } = self;
        let result = context.with(|ctx| {
            let run = || {
                let tools = tools.restore(&ctx)?;
                let function = match ahead {
                    Some((number, function)) if number == script.number => {
                        function.restore(&ctx)?
                    }
                    _ => compile(&ctx, &script.path, &script.source, "")?,
                };
                let require = tools.get::<_, Function>("require")?;
                let require: Function = require.call((script.path.as_str(),))?;
                ctx.globals()
                    .set("request", request(&ctx, &tools, work, script)?)?;
                let value: Value = function.call((This(ctx.globals()), require))?;
                settle(&ctx, value, &session)
            };
            let text = run().catch(&ctx);
            text.map_err(|error| failed(&session, &error))
        });
        drop(context);
        drop(runtime);
        result?
    }
}

fn options(path: &str) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(path.to_owned());
    options
}

fn compile<'js>(
    ctx: &Ctx<'js>,
    path: &str,
    source: &[u8],
    tail: &str,
) -> Result<Function<'js>, Error> {
    let source = std::str::from_utf8(source)
        .map_err(|_| Exception::throw_syntax(ctx, "the script is not UTF-8"))?;
    ctx.eval_with_options(format!("{HEAD}{source}\n{tail}}})"), options(path))
}

/// The result as JSON text, a promise's once it has settled.
fn settle<'js>(
    ctx: &Ctx<'js>,
    mut value: Value<'js>,
    session: &Session,
) -> Result<Result<Vec<u8>, End>, Error> {
    // What was promised on the side is done too, as long as there is time for it.
    while !session.budget.over() && ctx.execute_pending_job() {}
    if session.budget.over() {
        return Ok(Ok(Vec::new())); // the session says why
    }
    while let Some(promise) = value.as_promise().cloned() {
        value = match Promise::state(&promise) {
            PromiseState::Pending => {
                return Ok(Err(session.threw(Problem {
                    message: "the script returned a promise that nothing can settle any more"
                        .into(),
                    ..Problem::default()
                })));
            }
            _ => promise.result::<Value>().unwrap_or(Err(Error::Unknown))?,
        };
    }
    let text = match ctx.json_stringify(value)? {
        Some(text) => text.to_string()?,
        None => "null".to_owned(),
    };
    Ok(Ok(text.into_bytes()))
}

fn failed(session: &Session, error: &CaughtError) -> End {
    let problem = problem(error);
    // A string longer than the engine can hold is one that memory cannot hold either.
    let words = [
        "out of memory",
        "invalid string length",
        "string too long",
        "BigInt is too large",
    ];
    if words.iter().any(|words| problem.message.contains(words)) {
        return session.out_of_memory();
    }
    if problem.message.contains("Maximum call stack size exceeded") {
        return session.out_of_stack();
    }
    session.threw(problem)
}

fn problem(error: &CaughtError) -> Problem {
    let exception = match error {
        CaughtError::Exception(exception) => exception,
        CaughtError::Value(value) => {
            let text = value.ctx().json_stringify(value.clone()).ok().flatten();
            let thrown = text.and_then(|text| text.to_string().ok());
            return Problem {
                message: format!("thrown: {}", thrown.unwrap_or_else(|| "undefined".into())),
                ..Problem::default()
            };
        }
        CaughtError::Error(error) => {
            return Problem {
                message: match error {
                    Error::Allocation => "out of memory".into(),
                    error => error.to_string(),
                },
                ..Problem::default()
            };
        }
    };
    let name: String = exception.get("name").unwrap_or_default();
    let message = exception.message().unwrap_or_default();
    let stack = exception.stack().unwrap_or_default();
    // Our own frames have no file.
    let frames: Vec<_> = stack.lines().filter(|line| line.contains('/')).collect();
    let (file, line, column) = frames
        .iter()
        .find_map(|frame| place(frame))
        .unwrap_or_default();
    let shift = if line == 1 { HEAD.len() as u32 } else { 0 };
    Problem {
        message: match name.as_str() {
            "" | "Error" => message,
            name => format!("{name}: {message}"),
        },
        file: file.to_owned(),
        line,
        column: column.saturating_sub(shift),
        stack: frames.join("\n"),
    }
}

/// Reads `    at f (/a.js:3:5)` or `    at /a.js:3:5`.
fn place(frame: &str) -> Option<(&str, u32, u32)> {
    let frame = frame.trim().trim_end_matches(')');
    let frame = &frame[frame.find('/')?..];
    let (rest, column) = frame.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some((file, line.parse().ok()?, column.parse().ok()?))
}

/// The `request` of PROTOCOLS' scripts.
fn request<'js>(
    ctx: &Ctx<'js>,
    tools: &Object<'js>,
    work: &Work,
    script: &Script,
) -> Result<Object<'js>, Error> {
    let base64;
    let text = match work.form {
        WireForm::Binary => {
            base64 = BASE64.encode(&work.params);
            base64.as_str()
        }
        _ => std::str::from_utf8(&work.params)?,
    };
    let body: Value = match work.form {
        WireForm::Json => ctx.json_parse(text)?,
        _ => rquickjs::String::from_str(ctx.clone(), text)?.into_value(),
    };
    let http = work.http.as_ref();
    let request = Object::new(ctx.clone())?;
    match http.and_then(|http| http.raw_body.as_ref()) {
        Some(raw) => request.set("rawBody", String::from_utf8_lossy(raw).as_ref())?,
        None if body.is_string() => request.set("rawBody", body.clone())?,
        None if body.is_null() => request.set("rawBody", "")?,
        None => request.set("rawBody", text)?,
    }
    match body.as_object() {
        Some(object) if !body.is_array() => request.set("parameters", object.clone())?,
        _ => request.set("parameters", Object::new(ctx.clone())?)?,
    }
    request.set("body", body)?;
    let headers = Object::new(ctx.clone())?;
    for (name, value) in http.map(|http| &http.headers).into_iter().flatten() {
        headers.set(name.to_ascii_lowercase(), value.as_str())?;
    }
    let wrap: Function = tools.get("headers")?;
    request.set("headers", wrap.call::<_, Object>((headers,))?)?;
    request.set("id", work.call_id.as_str())?;
    request.set("method", http.map_or("POST", |http| http.verb.as_str()))?;
    let uri = http.map_or_else(|| format!("/{}", work.method), |http| http.path.clone());
    request.set("pathInfo", uri.as_str())?;
    request.set("URI", uri)?;
    request.set("queryString", http.map_or("", |http| http.query.as_str()))?;
    request.set("scriptName", script.path.trim_start_matches('/'))?;
    let user = Object::new(ctx.clone())?;
    user.set("id", work.caller.as_str())?;
    user.set("name", work.caller.as_str())?;
    request.set("user", user)?;
    request.set("files", Object::new(ctx.clone())?)?;
    Ok(request)
}

/// What the prelude builds on.
fn native<'js>(ctx: &Ctx<'js>, session: &Rc<Session>) -> Result<Object<'js>, Error> {
    let native = Object::new(ctx.clone())?;
    let s = session.clone();
    let log = move |level: String, text: String| s.log(&level, &text);
    native.set("log", Function::new(ctx.clone(), log)?)?;
    let s = session.clone();
    let level = move |level: String| s.set_level(&level);
    native.set("level", Function::new(ctx.clone(), level)?)?;
    let s = session.clone();
    let status = move |ctx: Ctx<'js>, status: f64| {
        let status = if status.fract() == 0.0 {
            status as u16
        } else {
            0
        };
        s.set_status(status)
            .map_err(|text| Exception::throw_type(&ctx, text))
    };
    native.set("status", Function::new(ctx.clone(), status)?)?;
    let s = session.clone();
    let header = move |ctx: Ctx<'js>, name: String, value: String, replace: bool| {
        s.header(&name, &value, replace)
            .map_err(|text| Exception::throw_type(&ctx, text))
    };
    native.set("header", Function::new(ctx.clone(), header)?)?;
    let s = session.clone();
    let write = move |ctx: Ctx<'js>, text: String| {
        s.write(text.as_bytes())
            .map_err(|text| Exception::throw_range(&ctx, text))
    };
    native.set("write", Function::new(ctx.clone(), write)?)?;
    let s = session.clone();
    native.set("close", Function::new(ctx.clone(), move || s.close())?)?;
    let s = session.clone();
    let call = move |ctx: Ctx<'js>, method: String, params: String| {
        ask(&ctx, &s, Ask::Call(method, params.into()))
    };
    native.set("call", Function::new(ctx.clone(), call)?)?;
    let s = session.clone();
    let http = move |ctx: Ctx<'js>, options: String| ask(&ctx, &s, Ask::Http(options.into()));
    native.set("http", Function::new(ctx.clone(), http)?)?;
    let s = session.clone();
    let load = move |ctx: Ctx<'js>, path: String, from: String| load(&ctx, &s, &path, &from);
    native.set("load", Function::new(ctx.clone(), load)?)?;
    let atob = |ctx: Ctx<'js>, text: String| {
        let bytes = BASE64.decode(text.trim());
        let bytes = bytes.map_err(|_| Exception::throw_type(&ctx, "atob: not base64"))?;
        Ok::<_, Error>(bytes.into_iter().map(char::from).collect::<String>())
    };
    native.set("atob", Function::new(ctx.clone(), atob)?)?;
    let btoa = |ctx: Ctx<'js>, text: String| {
        let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
        let bytes =
            bytes.map_err(|_| Exception::throw_type(&ctx, "btoa: a character above 255"))?;
        Ok::<_, Error>(BASE64.encode(bytes))
    };
    native.set("btoa", Function::new(ctx.clone(), btoa)?)?;
    Ok(native)
}

fn ask(ctx: &Ctx<'_>, session: &Session, ask: Ask) -> Result<String, Error> {
    let text = session.ask(ask).map_err(|thrown| throw(ctx, &thrown))?;
    String::from_utf8(text.into()).map_err(|_| Error::Unknown)
}

/// A module, compiled: `{path, code}`.
fn load<'js>(
    ctx: &Ctx<'js>,
    session: &Session,
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
    let code = compile(ctx, &script.path, &script.source, &tail)?;
    let found = Object::new(ctx.clone())?;
    found.set("path", script.path)?;
    found.set("code", code)?;
    Ok(found)
}

/// An `Error` with the fault's kind and data.
fn throw(ctx: &Ctx<'_>, thrown: &Thrown) -> Error {
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

//! One QuickJS context with what a script finds in it.

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

use super::core;
use super::globals;
use super::modules::Modules;
use crate::script::host::Session;
use crate::script::wire::{End, Problem, Script, WireForm, Work};

/// Stands in front of each script, so that `return` works at its top level and its variables are
/// its own. On the first line, so that lines keep their numbers.
const HEAD: &str = "(function(require,exports,module){";
/// Header names are looked up whatever their case.
const HEADERS: &str = r#"(function (fields) {
  var has = Object.prototype.hasOwnProperty;
  return new Proxy(fields, {
    get: function (target, name) {
      var lower = typeof name === "string" ? name.toLowerCase() : name;
      return has.call(target, lower) ? target[lower] : target[name];
    }
  });
})"#;

/// A context that waits for its one call.
pub struct World {
    ahead: Option<(u32, Persistent<Function<'static>>)>,
    modules: Modules,
    context: Context,
    session: Rc<Session>,
}

impl World {
    /// A fresh one.
    pub fn new(runtime: &Runtime, session: &Rc<Session>) -> Result<World, Error> {
        let context = Context::full(runtime)?;
        context.with(|ctx| globals::define(&ctx, session))?;
        Ok(World {
            ahead: None,
            modules: Modules::default(),
            context,
            session: session.clone(),
        })
    }

    /// Compiles the script that will likely be called. One that does not compile is reported when
    /// it is called.
    pub fn make_ready(&mut self, script: &Script) {
        let session = &self.session;
        self.ahead = self.context.with(|ctx| {
            let function = load(&ctx, session, script).catch(&ctx).ok()?;
            Some((script.number, Persistent::save(&ctx, function)))
        });
    }

    /// Runs its call. What is left of the script afterwards goes with the world.
    pub fn run(&mut self, work: &Work, script: &Script) -> Result<Vec<u8>, End> {
        let (ahead, session) = (self.ahead.take(), &self.session);
        let result = self.context.with(|ctx| {
            let run = || {
                let function = match ahead {
                    Some((number, function)) if number == script.number => {
                        function.restore(&ctx)?
                    }
                    _ => load(&ctx, session, script)?,
                };
                let require = self.modules.require(&ctx, session, &script.path)?;
                ctx.globals().set("request", request(&ctx, work, script)?)?;
                let value: Value = function.call((This(ctx.globals()), require))?;
                settle(&ctx, value, session)
            };
            let text = run().catch(&ctx);
            text.map_err(|error| failed(session, &error))
        });
        self.modules.forget();
        result?
    }
}

/// Compiles without running.
pub fn check(context: &Context, path: &str, source: &[u8]) -> Result<(), Problem> {
    context.with(|ctx| {
        let compiled = compile(&ctx, path, source, "").catch(&ctx);
        compiled.map(drop).map_err(|error| problem(&error))
    })
}

fn load<'js>(
    ctx: &Ctx<'js>,
    session: &Rc<Session>,
    script: &Script,
) -> Result<Function<'js>, Error> {
    core::define(ctx, session, script.mentions)?;
    compile(ctx, &script.path, &script.source, "")
}

pub fn options(path: &str) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(path.to_owned());
    options
}

pub fn compile<'js>(
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
fn request<'js>(ctx: &Ctx<'js>, work: &Work, script: &Script) -> Result<Object<'js>, Error> {
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
    let mut headers = Object::new(ctx.clone())?;
    for (name, value) in http.map(|http| &http.headers).into_iter().flatten() {
        headers.set(name.to_ascii_lowercase(), value.as_str())?;
    }
    if http.is_some() {
        let wrap: Function = ctx.eval_with_options(HEADERS, options(""))?;
        headers = wrap.call((headers,))?;
    }
    request.set("headers", headers)?;
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
    let files = match http.and_then(|http| http.files.as_ref()) {
        Some(files) => ctx.json_parse(&files[..])?,
        None => Object::new(ctx.clone())?.into_value(),
    };
    request.set("files", files)?;
    let account = Object::new(ctx.clone())?;
    account.set("accountKey", work.account.as_str())?;
    request.set("account", account)?;
    Ok(request)
}

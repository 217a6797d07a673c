//! What became of a script: its result, or how it failed.

use rquickjs::promise::PromiseState;
use rquickjs::{CaughtError, Ctx, Error, Promise, Value};

use super::script::HEAD;
use crate::script::host::Session;
use crate::script::wire::{End, Problem};

/// The result as JSON text, a promise's once it has settled.
pub fn settle<'js>(
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

pub fn failed(session: &Session, error: &CaughtError) -> End {
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

pub fn problem(error: &CaughtError) -> Problem {
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

//! The methods that callway itself answers at once: `callway.whoami`, `serve`, `cancel`, `progress`.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::conversation::Conversation;
use super::read::scanned;
use crate::auth::{Caller, Verb};
use crate::call::{Fault, Kind, Payload};
use crate::dialect::{Effect, Effects};
use crate::router::Pattern;

/// The most calls that a worker may take at once.
const MAX_CONCURRENCY: usize = 1000;
/// The most patterns in one offer.
const MAX_METHODS: usize = 100;

/// Runs `callway.<name>`.
pub(super) fn run(
    conversation: &mut Conversation,
    name: &str,
    params: Option<&RawValue>,
    effects: &mut Effects,
) -> Result<Payload, Fault> {
    match name {
        "whoami" => Ok(whoami(&conversation.caller)),
        "serve" => serve(conversation, params, effects),
        "cancel" => cancel(conversation, params, effects),
        "progress" => progress(conversation, params, effects),
        _ => Err(Fault::new(
            Kind::MethodNotFound,
            "callway has no such method of its own",
        )),
    }
}

fn whoami(caller: &Caller) -> Payload {
    let grants = &caller.token().grants;
    let texts = |patterns: &[Pattern]| patterns.iter().map(Pattern::to_string).collect::<Vec<_>>();
    Payload::from_value(&json!({
        "caller": caller.name(),
        "admin": caller.is_admin(),
        "call": texts(&grants.call),
        "serve": texts(&grants.serve),
        "publish": texts(&grants.publish),
        "subscribe": texts(&grants.subscribe),
    }))
}

#[derive(Deserialize)]
struct Serve {
    methods: Vec<String>,
    concurrency: Option<usize>,
}

/// Offers methods in place of those offered before; an empty list withdraws the offer.
fn serve(
    conversation: &Conversation,
    params: Option<&RawValue>,
    effects: &mut Effects,
) -> Result<Payload, Fault> {
    let Serve {
        methods,
        concurrency,
    } = parse(params, "{\"methods\":[…],\"concurrency\"?}")?;
    let concurrency = concurrency.unwrap_or(conversation.bounds.concurrency);
    if !(1..=MAX_CONCURRENCY).contains(&concurrency) {
        let why = format!("concurrency is 1 to {MAX_CONCURRENCY}");
        return Err(refused(why, "/concurrency"));
    }
    if methods.len() > MAX_METHODS {
        let why = format!("one connection offers at most {MAX_METHODS} patterns");
        return Err(refused(why, "/methods"));
    }
    let mut patterns = Vec::with_capacity(methods.len());
    for (index, method) in methods.iter().enumerate() {
        let pattern =
            Pattern::parse(method).map_err(|why| refused(why, &format!("/methods/{index}")))?;
        if !conversation
            .caller
            .token()
            .grants
            .permit_all(Verb::Serve, &pattern)
        {
            return Err(Fault::new(
                Kind::Forbidden,
                format!(
                    "no grant of this token covers every method of {method:?}; add it to the token's `serve`"
                ),
            ));
        }
        patterns.push(pattern);
    }
    effects.push(Effect::Serve {
        methods: patterns,
        concurrency,
    });
    Ok(Payload::from_value(
        &json!({ "methods": methods, "concurrency": concurrency }),
    ))
}

#[derive(Deserialize)]
struct Cancel {
    id: Box<RawValue>,
}

fn cancel(
    conversation: &mut Conversation,
    params: Option<&RawValue>,
    effects: &mut Effects,
) -> Result<Payload, Fault> {
    let Cancel { id } = parse(params, "{\"id\"}")?;
    let cancelled = conversation.cancel(id.get(), effects);
    Ok(Payload::from_value(&json!({ "cancelled": cancelled })))
}

#[derive(Deserialize)]
struct Progress {
    id: u64,
    data: Box<RawValue>,
}

fn progress(
    conversation: &Conversation,
    params: Option<&RawValue>,
    effects: &mut Effects,
) -> Result<Payload, Fault> {
    let Progress { id, data } = parse(params, "{\"id\",\"data\"}")?;
    scanned(data.get(), conversation.bounds.json_depth)?;
    effects.push(Effect::Progress(id, data));
    Ok(Payload::null())
}

/// Reads params of this shape.
pub(super) fn parse<'a, T: Deserialize<'a>>(
    params: Option<&'a RawValue>,
    shape: &str,
) -> Result<T, Fault> {
    let params = params.map_or("null", RawValue::get);
    serde_json::from_str(params)
        .map_err(|_mismatch| refused(format!("the params of this method are {shape}"), ""))
}

/// Params that are wrong at this place.
pub(super) fn refused(why: impl Into<String>, path: &str) -> Fault {
    Fault::new(Kind::InvalidParams, why.into()).with_data(&json!({ "path": path }))
}

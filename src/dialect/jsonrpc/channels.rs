//! The methods that are answered later: about channels (`callway.publish`, `subscribe`,
//! `unsubscribe`, `history`), and `callway.status` of a one-way call.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::builtin::{parse, refused};
use super::conversation::Conversation;
use super::read::scanned;
use crate::auth::Verb;
use crate::call::{CallId, Fault, Payload};
use crate::channel::{Position, Query, permit};
use crate::dialect::{Effect, Ticket, Told};

/// What `callway.<name>` wants done, if it is one of these.
pub(super) fn ask(
    conversation: &Conversation,
    ticket: Ticket,
    name: &str,
    params: Option<&RawValue>,
) -> Option<Result<Effect, Fault>> {
    Some(match name {
        "publish" => publish(conversation, ticket, params),
        "subscribe" => subscribe(conversation, ticket, params),
        "unsubscribe" => unsubscribe(ticket, params),
        "history" => history(conversation, ticket, params),
        "status" => status(ticket, params),
        _ => return None,
    })
}

/// What its answer says.
pub(super) fn result(told: &Told) -> Payload {
    let value = match told {
        Told::Past(past) => return Payload::json(past.to_json()),
        Told::Published(kept) => return Payload::json(kept.to_json()),
        Told::Subscribed(subscribed) => json!({
            "position": subscribed.position.to_string(),
            "recovered": subscribed.recovered,
        }),
        Told::Unsubscribed(was) => json!({ "unsubscribed": was }),
        Told::Status(id, state) => json!({ "call_id": id.to_string(), "state": state.as_str() }),
        Told::Flow(_) => serde_json::Value::Null, // nothing that this dialect asks for
    };
    Payload::from_value(&value)
}

#[derive(Deserialize)]
struct Publish<'a> {
    channel: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

fn publish(
    conversation: &Conversation,
    ticket: Ticket,
    params: Option<&RawValue>,
) -> Result<Effect, Fault> {
    let Publish { channel, payload } = parse(params, r#"{"channel","payload"}"#)?;
    scanned(payload.get(), conversation.bounds.json_depth)?;
    // A copy, because an event may outlive the message by far, which may be much larger.
    let payload = Payload::json(Bytes::copy_from_slice(payload.get().as_bytes()));
    Ok(Effect::Publish(ticket, channel.into(), payload))
}

#[derive(Deserialize)]
struct Subscribe {
    channel: String,
    since: Option<String>,
}

fn subscribe(
    conversation: &Conversation,
    ticket: Ticket,
    params: Option<&RawValue>,
) -> Result<Effect, Fault> {
    let Subscribe { channel, since } = parse(params, r#"{"channel","since"?}"#)?;
    permit(&conversation.caller, Verb::Subscribe, &channel)?;
    Ok(Effect::Subscribe(ticket, channel.into(), position(since)?))
}

#[derive(Deserialize)]
struct Unsubscribe {
    channel: String,
}

fn unsubscribe(ticket: Ticket, params: Option<&RawValue>) -> Result<Effect, Fault> {
    let Unsubscribe { channel } = parse(params, r#"{"channel"}"#)?;
    Ok(Effect::Unsubscribe(ticket, channel.into()))
}

#[derive(Deserialize)]
struct History {
    channel: String,
    count: Option<usize>,
    since: Option<String>,
}

fn history(
    conversation: &Conversation,
    ticket: Ticket,
    params: Option<&RawValue>,
) -> Result<Effect, Fault> {
    let shape = r#"{"channel","count"?,"since"?}"#;
    let History {
        channel,
        count,
        since,
    } = parse(params, shape)?;
    permit(&conversation.caller, Verb::Subscribe, &channel)?;
    let query = Query {
        channel: channel.into(),
        count,
        since: position(since)?,
    };
    Ok(Effect::Look(ticket, query))
}

#[derive(Deserialize)]
struct Status {
    call_id: String,
}

fn status(ticket: Ticket, params: Option<&RawValue>) -> Result<Effect, Fault> {
    let Status { call_id } = parse(params, r#"{"call_id"}"#)?;
    let id = CallId::parse(&call_id).ok_or_else(|| refused("not a call id", "/call_id"))?;
    Ok(Effect::Status(ticket, id))
}

fn position(text: Option<String>) -> Result<Option<Position>, Fault> {
    let parsed = text.map(|text| text.parse::<Position>()).transpose();
    parsed.map_err(|why| refused(why.to_string(), "/since"))
}

#[cfg(test)]
mod tests;

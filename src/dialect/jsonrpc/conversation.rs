//! One client's JSON-RPC conversation: its calls, its batches, and the calls put to it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::batch::{BatchId, Batches};
use super::read::{Asked, Incoming, invalid, no_message, read};
use super::{builtin, channels, write};
use crate::auth::Caller;
use crate::call::{Fault, Kind, Outcome, Payload, scan};
use crate::channel::{Placed, Shape};
use crate::config::Limits;
use crate::dialect::{Effect, Effects, Request, Session, Ticket, Told};
use crate::target::{Ask, WorkerAnswer};

/// The dialect `jsonrpc` over messages.
///
/// Two calls under way may have the same id: each is answered, and `callway.cancel` means the
/// later one.
pub struct Conversation {
    pub(super) caller: Caller,
    pub(super) bounds: Bounds,
    live: HashMap<Ticket, Live>,
    batches: Batches,
    next: Ticket,
}

/// The limits that this dialect looks at itself.
pub(super) struct Bounds {
    pub(super) json_depth: usize,
    batch: usize,
    /// What a worker takes at once unless it says otherwise.
    pub(super) concurrency: usize,
}

/// A call under way, or what was asked of a channel. A notification has no reply.
struct Live {
    reply: Option<ReplyTo>,
    may_cancel: bool,
}

/// Where a response goes: its id, and the batch that it is part of.
#[derive(Clone)]
pub(super) struct ReplyTo {
    pub(super) id: Box<str>,
    batch: Option<BatchId>,
}

impl Conversation {
    /// With this caller, who has been let in.
    pub fn new(caller: Caller, limits: &Limits) -> Conversation {
        Conversation {
            caller,
            bounds: Bounds {
                json_depth: limits.json_depth,
                batch: limits.batch,
                concurrency: limits.in_flight_per_connection,
            },
            live: HashMap::new(),
            batches: Batches::default(),
            next: 0,
        }
    }

    fn batch(&mut self, message: &Bytes, effects: &mut Effects) {
        let Ok(parts) = serde_json::from_slice::<Vec<&RawValue>>(message) else {
            let fault = no_message(message, self.bounds.json_depth);
            return self.refuse(None, None, &fault, effects);
        };
        if parts.is_empty() {
            return self.refuse(None, None, &invalid("the batch is empty"), effects);
        }
        if parts.len() > self.bounds.batch {
            effects.push(Effect::Limit("batch"));
            let why = format!("a batch has at most {} requests", self.bounds.batch);
            return self.refuse(None, None, &Fault::new(Kind::TooLarge, why), effects);
        }
        let batch = self.batches.begin();
        for part in parts {
            self.one(message, part.get(), Some(batch), effects);
        }
        let whole = self.batches.read(batch);
        effects.extend(whole.map(|text| Effect::Send(text.into())));
    }

    /// Takes one message; `text` is it, or a part of it.
    fn one(&mut self, message: &Bytes, text: &str, batch: Option<BatchId>, effects: &mut Effects) {
        match read(text, self.bounds.json_depth) {
            Incoming::Asked(asked) => self.asked(message, asked, batch, effects),
            Incoming::Result(id, result) => {
                let payload = Payload::unchecked_json(slice(message, result));
                answered(id, WorkerAnswer::Result(payload), effects);
            }
            Incoming::Error(id, error) => {
                answered(id, self.error(message, error), effects);
            }
            Incoming::Refused(id, fault) => {
                self.refuse(id.map(RawValue::get), batch, &fault, effects);
            }
        }
    }

    fn asked(
        &mut self,
        message: &Bytes,
        asked: Asked,
        batch: Option<BatchId>,
        effects: &mut Effects,
    ) {
        let reply = asked.id.map(|id| ReplyTo {
            id: id.get().into(),
            batch,
        });
        if let (Some(_), Some(batch)) = (&reply, batch) {
            self.batches.expect_one(batch);
        }
        if let Some(name) = asked.method.strip_prefix("callway.") {
            return self.asked_callway(name, asked.params, reply, effects);
        }
        self.next += 1;
        let request = Request {
            method: asked.method.into(),
            params: match asked.params {
                Some(params) => Payload::unchecked_json(slice(message, params)),
                None => Payload::null(),
            },
            timeout: asked.timeout,
            key: asked.key.map(Arc::from),
            progress: reply.is_some(),
            patient: batch.is_some(),
        };
        let live = Live {
            reply,
            may_cancel: true,
        };
        self.live.insert(self.next, live);
        effects.push(Effect::Call(self.next, request));
    }

    /// Does what callway itself does.
    fn asked_callway(
        &mut self,
        name: &str,
        params: Option<&RawValue>,
        reply: Option<ReplyTo>,
        effects: &mut Effects,
    ) {
        let ticket = self.next + 1;
        let outcome = match channels::ask(self, ticket, name, params) {
            Some(Ok(effect)) => {
                self.next = ticket;
                let may_cancel = false;
                self.live.insert(ticket, Live { reply, may_cancel });
                return effects.push(effect);
            }
            Some(Err(fault)) => Err(fault),
            None => builtin::run(self, name, params, effects),
        };
        if let Some(reply) = reply {
            self.respond(&reply, outcome, effects);
        }
    }

    /// What a worker's error object says. -32601 and -32006 mean "not me".
    fn error(&self, message: &Bytes, error: &RawValue) -> WorkerAnswer {
        #[derive(serde::Deserialize)]
        struct Code {
            code: i64,
        }
        let code = serde_json::from_str(error.get()).map_or(0, |Code { code }| code);
        match Kind::from_jsonrpc_code(code) {
            Some(kind @ (Kind::MethodNotFound | Kind::Overloaded)) => WorkerAnswer::Declined(kind),
            _ if scan(error.get().as_bytes(), self.bounds.json_depth).is_ok() => {
                WorkerAnswer::Error(slice(message, error))
            }
            _ => WorkerAnswer::Error(Bytes::from_static(b"null")),
        }
    }

    /// Gives up the call that has this id. Says whether there was one.
    pub(super) fn cancel(&mut self, id: &str, effects: &mut Effects) -> bool {
        let has_id = |live: &Live| {
            live.may_cancel && live.reply.as_ref().is_some_and(|reply| *reply.id == *id)
        };
        let latest = self
            .live
            .iter()
            .filter(|(_, live)| has_id(live))
            .map(|(ticket, _)| *ticket)
            .max();
        let Some(ticket) = latest else {
            return false;
        };
        effects.push(Effect::Cancel(ticket));
        let cancelled = Fault::new(Kind::Cancelled, "you cancelled this call");
        if let Some(reply) = self.live.remove(&ticket).and_then(|live| live.reply) {
            self.respond(&reply, Err(cancelled), effects);
        }
        true
    }

    fn respond(&mut self, reply: &ReplyTo, outcome: Result<Payload, Fault>, effects: &mut Effects) {
        let text = match outcome {
            Ok(payload) => write::success(&reply.id, &payload),
            Err(fault) => write::failure(&reply.id, &fault),
        };
        self.send(reply.batch, text, effects);
    }

    /// Answers what is no request; with `null` for an id where none could be read.
    fn refuse(
        &mut self,
        id: Option<&str>,
        batch: Option<BatchId>,
        fault: &Fault,
        effects: &mut Effects,
    ) {
        if let Some(batch) = batch {
            self.batches.expect_one(batch);
        }
        let text = write::failure(id.unwrap_or("null"), fault);
        self.send(batch, text, effects);
    }

    fn send(&mut self, batch: Option<BatchId>, response: String, effects: &mut Effects) {
        let whole = match batch {
            None => Some(response),
            Some(batch) => self.batches.add(batch, &response),
        };
        effects.extend(whole.map(|text| Effect::Send(text.into())));
    }
}

impl Session for Conversation {
    fn message(&mut self, message: Bytes, effects: &mut Effects) {
        match std::str::from_utf8(&message) {
            Ok(_) if message.trim_ascii_start().first() == Some(&b'[') => {
                self.batch(&message, effects);
            }
            Ok(text) => self.one(&message, text, None, effects),
            Err(_) => {
                let fault = Fault::new(Kind::ParseError, "not valid UTF-8");
                self.refuse(None, None, &fault, effects);
            }
        }
    }

    fn outcome(&mut self, ticket: Ticket, outcome: Outcome, effects: &mut Effects) {
        let live = self.live.remove(&ticket);
        if let Some(reply) = live.and_then(|live| live.reply) {
            self.respond(&reply, outcome.map(|reply| reply.payload), effects);
        }
    }

    fn progress(&mut self, ticket: Ticket, data: &RawValue, effects: &mut Effects) {
        let live = self.live.get(&ticket);
        if let Some(reply) = live.and_then(|live| live.reply.as_ref()) {
            let params = format!(r#"{{"id":{},"data":{}}}"#, reply.id, data.get());
            let text = write::notification("callway.progress", &params);
            effects.push(Effect::Send(text.into()));
        }
    }

    fn told(&mut self, ticket: Ticket, told: Result<Told, Fault>, effects: &mut Effects) {
        let live = self.live.remove(&ticket);
        if let Some(reply) = live.and_then(|live| live.reply) {
            self.respond(&reply, told.map(|told| channels::result(&told)), effects);
        }
    }

    fn event(&mut self, placed: &Placed, effects: &mut Effects) {
        let text = placed.text(Shape::Notification, |placed| {
            write::notification("callway.event", &placed.to_json()).into()
        });
        effects.push(Effect::Send(text));
    }

    fn ask(&mut self, number: u64, ask: &Ask, effects: &mut Effects) {
        let left = ask.deadline.remaining().as_millis();
        let extra = format_args!(r#","timeout":"{left}ms","call_id":"{}""#, ask.call_id);
        let text = write::request(&number.to_string(), &ask.method, &ask.params, extra);
        effects.push(Effect::Send(text.into()));
    }

    fn ask_cancelled(&mut self, number: u64, effects: &mut Effects) {
        let params = format!(r#"{{"id":{number}}}"#);
        let text = write::notification("callway.cancel", &params);
        effects.push(Effect::Send(text.into()));
    }
}

/// An id that is none of ours belongs to nobody; number 0 is never given out.
fn answered(id: &RawValue, answer: WorkerAnswer, effects: &mut Effects) {
    let number = id.get().parse().unwrap_or(0);
    effects.push(Effect::Answer(number, answer));
}

/// A part of a message as bytes of their own, without a copy.
fn slice(message: &Bytes, part: &RawValue) -> Bytes {
    message.slice_ref(part.get().as_bytes())
}

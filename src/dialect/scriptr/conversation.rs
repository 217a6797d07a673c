//! One client's WebSocket: greeted first, then calls and their replies, in order if so wished.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::failure::Failure;
use super::routed;
use super::wire::{self, Voice, Wanted};
use crate::call::{Fault, Kind, Outcome, Text};
use crate::channel::{Placed, Shape};
use crate::config::{Limits, ScriptrOptions};
use crate::dialect::{CloseCode, Effect, Effects, Request, Session, Ticket, Told};

/// Replies that may wait for an earlier one. Requests that want something have a bound of their own;
/// this one is for clients that send nonsense meanwhile.
const WAITING: usize = 1024;

/// The state of one conversation.
pub struct Conversation {
    options: Arc<ScriptrOptions>,
    voice: Voice,
    /// Requests that may be unanswered where replies keep their order. Those count too whose reply is
    /// there and waits for its turn: replies may be large.
    most: usize,
    next: Ticket,
    /// What was asked and not answered yet, in the order in which it came.
    asked: VecDeque<Asked>,
}

struct Asked {
    ticket: Ticket,
    client_id: Option<String>,
    /// The channel that it is about.
    channel: Option<Arc<str>>,
    /// The reply, while it waits for its turn.
    reply: Option<String>,
}

impl Conversation {
    /// With the options of its endpoint.
    pub fn new(options: Arc<ScriptrOptions>, limits: &Limits) -> Conversation {
        Conversation {
            voice: Voice::new(options.legacy_envelope),
            options,
            most: limits.in_flight_per_connection,
            next: 0,
            asked: VecDeque::new(),
        }
    }

    /// Whether nothing more is begun, because too many replies wait for their turn.
    fn is_full(&self) -> bool {
        self.options.ordered && self.asked.len() >= self.most
    }

    fn fail(&mut self, client_id: Option<String>, failure: &Failure, effects: &mut Effects) {
        let reply = self.voice.failure(client_id.as_deref(), failure);
        if !self.options.ordered || self.asked.is_empty() {
            effects.push(Effect::Send(reply.into()));
            return;
        }
        self.note(client_id, None, Some(reply), effects);
    }

    /// Remembers that an answer is owed, or waits for its turn.
    fn note(
        &mut self,
        client_id: Option<String>,
        channel: Option<Arc<str>>,
        reply: Option<String>,
        effects: &mut Effects,
    ) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        self.asked.push_back(Asked {
            ticket,
            client_id,
            channel,
            reply,
        });
        if self.asked.len() > WAITING {
            let why = "too many replies wait for an earlier one";
            effects.push(Effect::Limit("replies_waiting"));
            effects.push(Effect::Close(CloseCode::TooSlow, why));
        }
        ticket
    }

    /// Sends what has its reply and nothing unanswered before it.
    fn send_ready(&mut self, effects: &mut Effects) {
        while let Some(reply) = self.asked.front_mut().and_then(|asked| asked.reply.take()) {
            self.asked.pop_front();
            effects.push(Effect::Send(reply.into()));
        }
    }

    fn carry_out(&mut self, client_id: Option<String>, wanted: Wanted, effects: &mut Effects) {
        match wanted {
            Wanted::Call(script, params) => {
                let request = Request {
                    method: routed(&self.options, &script).into(),
                    params,
                    timeout: None,
                    key: None,
                    progress: false,
                    patient: false,
                };
                let ticket = self.note(client_id, None, None, effects);
                effects.push(Effect::Call(ticket, request));
            }
            Wanted::Publish(channel, message) => {
                let channel: Arc<str> = channel.into();
                let ticket = self.note(client_id, Some(channel.clone()), None, effects);
                effects.push(Effect::Publish(ticket, channel, message));
            }
            Wanted::Subscribe(channel) => {
                let channel: Arc<str> = channel.into();
                let ticket = self.note(client_id, Some(channel.clone()), None, effects);
                effects.push(Effect::Subscribe(ticket, channel, None));
            }
            Wanted::Unsubscribe(channels) => {
                let ticket = self.note(client_id, None, None, effects);
                // Each is told; the first time counts.
                let each = |channel: String| Effect::Unsubscribe(ticket, channel.into());
                effects.extend(channels.into_iter().map(each));
            }
        }
    }

    /// Sends a reply, or lets it wait for its turn.
    fn answer(
        &mut self,
        ticket: Ticket,
        effects: &mut Effects,
        say: impl FnOnce(&Voice, &Asked) -> String,
    ) {
        let Some(at) = self.asked.iter().position(|asked| asked.ticket == ticket) else {
            return;
        };
        let reply = say(&self.voice, &self.asked[at]);
        if self.options.ordered {
            self.asked[at].reply = Some(reply);
            self.send_ready(effects);
        } else {
            self.asked.remove(at);
            effects.push(Effect::Send(reply.into()));
        }
    }
}

impl Session for Conversation {
    fn opened(&mut self, effects: &mut Effects) {
        effects.push(Effect::Send(self.voice.greeting().into()));
    }

    fn message(&mut self, text: Bytes, effects: &mut Effects) {
        let wire::Asked { client_id, what } = wire::read(&text);
        match what {
            Err(failure) => self.fail(client_id, &failure, effects),
            Ok(_) if self.is_full() => {
                effects.push(Effect::Limit("in_flight_per_connection"));
                let message = format!("{} requests are unanswered already", self.most);
                let fault = Fault::new(Kind::Overloaded, message);
                self.fail(client_id, &Failure::of(&fault), effects);
            }
            Ok(wanted) => self.carry_out(client_id, wanted, effects),
        }
    }

    fn outcome(&mut self, ticket: Ticket, outcome: Outcome, effects: &mut Effects) {
        self.answer(ticket, effects, |voice, asked| {
            let client_id = asked.client_id.as_deref();
            match outcome {
                Ok(reply) => voice.success(client_id, &reply),
                Err(fault) => voice.failure(client_id, &Failure::of(&fault)),
            }
        });
    }

    fn told(&mut self, ticket: Ticket, told: Result<Told, Fault>, effects: &mut Effects) {
        self.answer(ticket, effects, |voice, asked| {
            let client_id = asked.client_id.as_deref();
            let channel = asked.channel.as_deref().unwrap_or_default();
            match told {
                Ok(_) => voice.done(client_id),
                Err(fault) => voice.failure(client_id, &Failure::of_channel(&fault, channel)),
            }
        });
    }

    fn event(&mut self, placed: &Placed, effects: &mut Effects) {
        effects.push(Effect::Send(placed.text(Shape::Raw, raw)));
    }
}

/// The payload alone; bytes that are no text as JSON.
fn raw(placed: &Placed) -> Text {
    let payload = &placed.event.payload;
    Text::from_utf8(payload.bytes().clone())
        .unwrap_or_else(|| payload.as_json().into_owned().into())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::call::{Kind, Payload, Reply};
    use crate::channel::{Event, Position};
    use crate::router::Template;

    fn conversation(ordered: bool) -> (Conversation, String) {
        let options = Arc::new(ScriptrOptions {
            anonymous: None,
            legacy_envelope: false,
            ordered,
            methods: Template::parse("acme/{path...}").unwrap(),
        });
        let mut conversation = Conversation::new(options, &Limits::default());
        let mut effects = Effects::new();
        conversation.opened(&mut effects);
        let greeting = sent(&effects).remove(0);
        assert_eq!(greeting["result"], "connected.");
        let session = greeting["id"].as_str().unwrap().to_owned();
        (conversation, session)
    }

    fn sent(effects: &Effects) -> Vec<Value> {
        effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Send(text) => Some(serde_json::from_str(text).unwrap()),
                _ => None,
            })
            .collect()
    }

    fn calls(effects: &Effects) -> Vec<(Ticket, String)> {
        effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Call(ticket, request) => Some((*ticket, request.method.to_string())),
                _ => None,
            })
            .collect()
    }

    fn say(conversation: &mut Conversation, text: &str) -> Effects {
        let mut effects = Effects::new();
        conversation.message(Bytes::from(text.to_owned()), &mut effects);
        effects
    }

    fn reply(conversation: &mut Conversation, ticket: Ticket, outcome: Outcome) -> Vec<String> {
        let mut effects = Effects::new();
        conversation.outcome(ticket, outcome, &mut effects);
        let ids = sent(&effects);
        ids.iter()
            .map(|frame| frame["id"].as_str().unwrap()[9..].to_owned())
            .collect()
    }

    fn ok() -> Outcome {
        Ok(Reply::new(Payload::null()))
    }

    #[test]
    fn nonsense_gets_a_failure_and_the_socket_lives() {
        let (mut conversation, session) = conversation(true);
        let effects = say(&mut conversation, "{");
        assert_eq!(effects.len(), 1, "an answer and nothing else");
        let answer = &sent(&effects)[0];
        assert_eq!(answer["errorCode"], "PARSE_ERROR");
        assert_eq!(answer["statusCode"], "400");
        assert!(answer["id"].as_str().unwrap().starts_with(&session));
        assert_eq!(calls(&say(&mut conversation, r#"{"method":"a"}"#)).len(), 1);
    }

    #[test]
    fn a_method_may_begin_with_a_slash_and_gets_the_prefix() {
        let (mut conversation, _) = conversation(true);
        let effects = say(&mut conversation, r#"{"method":"/a/b","params":"x"}"#);
        assert_eq!(calls(&effects), [(0, "acme/a/b".to_owned())]);
    }

    #[test]
    fn replies_keep_the_order_of_the_calls() {
        let (mut conversation, _) = conversation(true);
        for id in ["a", "b", "d"] {
            say(
                &mut conversation,
                &format!(r#"{{"method":"m","id":"{id}"}}"#),
            );
            if id == "b" {
                assert!(say(&mut conversation, r#"{"method":7}"#).is_empty());
            }
        }
        assert!(reply(&mut conversation, 3, ok()).is_empty());
        let failed = Err(Fault::new(Kind::Timeout, "late"));
        assert_eq!(reply(&mut conversation, 0, failed), ["a"]);
        let rest = reply(&mut conversation, 1, ok());
        assert_eq!(rest.len(), 3);
        assert_eq!((rest[0].as_str(), rest[2].as_str()), ("b", "d"));
        assert!(reply(&mut conversation, 1, ok()).is_empty(), "told once");
    }

    #[test]
    fn unordered_replies_come_as_they_are_ready() {
        let (mut conversation, _) = conversation(false);
        for id in ["a", "b"] {
            say(
                &mut conversation,
                &format!(r#"{{"method":"m","id":"{id}"}}"#),
            );
        }
        assert_eq!(reply(&mut conversation, 1, ok()), ["b"]);
        assert_eq!(sent(&say(&mut conversation, "{")).len(), 1);
        assert_eq!(reply(&mut conversation, 0, ok()), ["a"]);
    }

    #[test]
    fn channels_are_answered_in_turn_and_events_at_once() {
        let (mut conversation, _) = conversation(true);
        say(&mut conversation, r#"{"method":"slow","id":"a"}"#);
        for (id, command) in [("b", "Subscribe"), ("c", "Publish"), ("d", "Unscubscribe")] {
            let params = r#"{"channel":"c","message":"{'x'}"}"#;
            let frame = format!(r#"{{"method":"{command}","params":{params},"id":"{id}"}}"#);
            let effects = say(&mut conversation, &frame);
            assert!(
                sent(&effects).is_empty() && effects.len() == 1,
                "{effects:?}"
            );
        }
        let mut effects = Effects::new();
        let missing = Fault::new(Kind::MethodNotFound, "no");
        conversation.told(1, Err(missing), &mut effects);
        conversation.told(3, Ok(Told::Unsubscribed(true)), &mut effects);
        assert!(effects.is_empty());
        let event = Event {
            id: uuid::Uuid::nil(),
            channel: "c".into(),
            time: 0,
            payload: Payload::text("{'x'}"),
            hops: 0,
            traceparent: None,
        };
        let position = Position { epoch: 1, seq: 1 };
        conversation.event(&Placed::new(event, position), &mut effects);
        assert!(matches!(&effects[..], [Effect::Send(text)] if text == "{'x'}"));
        effects.clear();
        conversation.outcome(0, ok(), &mut effects);
        let answers = sent(&effects);
        assert_eq!(answers.len(), 2, "the third waits for the second");
        assert_eq!(answers[1]["errorCode"], "CHANNEL_NOT_FOUND");
        assert_eq!(answers[1]["statusCode"], "404");
    }

    #[test]
    fn replies_behind_a_slow_call_are_bounded() {
        let most = Limits::default().in_flight_per_connection as u64;
        for ordered in [true, false] {
            let (mut conversation, _) = conversation(ordered);
            say(&mut conversation, r#"{"method":"slow","id":"slow"}"#);
            let mut begun = 0;
            // Each is answered at once, so that none of them is under way.
            for ticket in 1..2 * most {
                let made = calls(&say(&mut conversation, r#"{"method":"fast","id":"fast"}"#));
                begun += made.len() as u64;
                if !made.is_empty() {
                    reply(&mut conversation, ticket, ok());
                }
            }
            assert_eq!(begun, if ordered { most - 1 } else { 2 * most - 1 });
            let mut effects = Effects::new();
            conversation.outcome(0, ok(), &mut effects);
            let answers = sent(&effects);
            if ordered {
                assert_eq!(answers.len() as u64, 2 * most);
                let last = &answers[answers.len() - 1];
                assert_eq!(
                    (&last["statusCode"], &last["errorCode"]),
                    (&"503".into(), &"OVERLOADED".into())
                );
            }
            let again = say(&mut conversation, r#"{"method":"fast"}"#);
            assert_eq!(calls(&again).len(), 1, "there is room again");
        }
    }

    #[test]
    fn nonsense_behind_a_slow_call_is_bounded() {
        let (mut conversation, _) = conversation(true);
        say(&mut conversation, r#"{"method":"slow"}"#);
        let closed = (0..=WAITING).any(|_| {
            say(&mut conversation, "{")
                .iter()
                .any(|effect| matches!(effect, Effect::Close(CloseCode::TooSlow, _)))
        });
        assert!(closed);
    }
}

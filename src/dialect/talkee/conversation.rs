//! One member's WebSocket: its first message says who it is, and then it only listens.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::message::{sender, shown};
use crate::auth::Secret;
use crate::call::{Fault, Kind, Outcome};
use crate::channel::{Placed, Seal, Shape};
use crate::dialect::{CloseCode, Effect, Effects, Session, Ticket, Told};

/// The token in a message of the type `auth`.
pub fn first(text: &[u8]) -> Option<Secret> {
    #[derive(Deserialize)]
    struct Auth {
        r#type: String,
        token: String,
    }
    let auth: Auth = serde_json::from_slice(text).ok()?;
    let fits = auth.r#type == "auth" && !auth.token.is_empty();
    fits.then(|| Secret::new(auth.token))
}

/// Whether a token still proves the member that a conversation is with.
pub type Again = Box<dyn Fn(&Secret) -> bool + Send>;

/// A conversation with a member who is known.
pub struct Conversation {
    channel: Arc<str>,
    /// The member's own number.
    me: u64,
    seal: Seal,
    again: Again,
}

impl Conversation {
    /// About the room that is this channel.
    pub fn new(channel: Arc<str>, me: u64, seal: Seal, again: Again) -> Conversation {
        Conversation {
            channel,
            me,
            seal,
            again,
        }
    }
}

impl Session for Conversation {
    fn opened(&mut self, effects: &mut Effects) {
        effects.push(Effect::Subscribe(0, self.channel.clone(), None));
    }

    fn message(&mut self, text: Bytes, effects: &mut Effects) {
        if !first(&text).is_some_and(|token| (self.again)(&token)) {
            let why = "a member says nothing but who it is";
            effects.push(Effect::Close(CloseCode::Unauthenticated, why));
        }
    }

    fn binary(&mut self, _message: Bytes, _effects: &mut Effects) {}

    fn outcome(&mut self, _ticket: Ticket, _outcome: Outcome, _effects: &mut Effects) {}

    fn told(&mut self, _ticket: Ticket, told: Result<Told, Fault>, effects: &mut Effects) {
        if let Err(fault) = told {
            effects.push(match fault.kind {
                Kind::ShuttingDown => Effect::Close(CloseCode::Drain, "shutting down"),
                Kind::Forbidden => Effect::Close(CloseCode::Policy, "no grant for this room"),
                Kind::MethodNotFound => Effect::Close(CloseCode::Policy, "there is no such room"),
                _ => Effect::Close(CloseCode::Policy, "the room cannot be entered"),
            });
        }
    }

    fn event(&mut self, placed: &Placed, effects: &mut Effects) {
        let text = placed.text(Shape::Talkee, |placed| shown(&placed.event, &self.seal));
        if sender(&text) != self.me {
            effects.push(Effect::Send(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Payload;
    use crate::channel::{Event, Position};
    use crate::dialect::talkee::{Draft, User};

    fn conversation(me: u64) -> (Conversation, Effects) {
        let again: Again = Box::new(|token| token.expose() == "mine");
        let mut conversation =
            Conversation::new("talkee/1/a".into(), me, Seal::new(&[1; 32]), again);
        let mut effects = Effects::new();
        conversation.opened(&mut effects);
        (conversation, effects)
    }

    /// Whether the conversation goes on after this.
    fn goes_on(text: &str) -> bool {
        let (mut conversation, mut effects) = conversation(7);
        effects.clear();
        conversation.message(Bytes::from(text.to_owned()), &mut effects);
        match effects.pop() {
            None => true,
            Some(Effect::Close(CloseCode::Unauthenticated, _)) => false,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_who_says_who_it_is_is_heard() {
        for text in [
            "",
            "hello",
            "{}",
            r#"{"type":"auth"}"#,
            r#"{"type":"auth","token":""}"#,
            r#"{"type":"auth","token":7}"#,
            r#"{"type":"hello","token":"mine"}"#,
            r#"{"token":"mine"}"#,
            r#"{"type":"auth","token":"mine""#,
            r#"[{"type":"auth","token":"mine"}]"#,
        ] {
            assert!(first(text.as_bytes()).is_none(), "{text}");
            assert!(!goes_on(text), "{text}");
        }
        assert!(!goes_on(r#"{"type":"auth","token":"another's"}"#));
        assert!(goes_on(r#"{"token":"mine","type":"auth","more":1}"#));
    }

    #[test]
    fn binary_messages_are_ignored() {
        let (mut conversation, mut effects) = conversation(7);
        effects.clear();
        conversation.binary(Bytes::from_static(b"hello"), &mut effects);
        assert!(effects.is_empty());
    }

    #[test]
    fn everyone_hears_a_message_but_its_sender() {
        let seal = Seal::new(&[1; 32]);
        let draft = Draft::read(br#"{"category":"text","data":"SGk="}"#).unwrap();
        let mut user = User::foreign();
        user.id = 7;
        let payload = draft.compose(&user, 9);
        let event = |id, payload: &Payload| {
            let event = Event {
                id,
                channel: "talkee/1/a".into(),
                time: 9,
                payload: payload.clone(),
                hops: 0,
                traceparent: None,
            };
            Placed::new(event, Position { epoch: 1, seq: 1 })
        };
        let own = event(seal.id("talkee/1/a", payload.bytes(), 9), &payload);
        let forged = event(crate::call::ordered_id(), &payload);
        for (me, placed, hears) in [
            (7, &own, false),
            (8, &own, true),
            // In the sender's name, but not by the sender.
            (7, &forged, true),
        ] {
            let (mut conversation, mut effects) = conversation(me);
            assert!(matches!(effects.pop(), Some(Effect::Subscribe(..))));
            conversation.event(placed, &mut effects);
            assert_eq!(effects.len(), usize::from(hears));
        }
    }

    #[test]
    fn who_may_not_listen_has_to_leave() {
        let (mut conversation, mut effects) = conversation(7);
        effects.clear();
        let refused = Fault::new(Kind::Forbidden, "no");
        conversation.told(0, Err(refused), &mut effects);
        assert!(matches!(effects[..], [Effect::Close(CloseCode::Policy, _)]));
    }
}

//! Messages: as they are written, as they are kept and sent, and what becomes of events that
//! nobody wrote in a room.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD as BASE64};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Refusal, User};
use crate::call::{Form, Payload, Text, rfc3339};
use crate::channel::{Event, Past, Seal};

/// What browsers decode: padding may be left out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The longest `message_id`, in bytes.
const LONGEST_ID: usize = 255;

/// A message as a client wrote it.
#[derive(Debug, Deserialize)]
pub struct Draft {
    message_id: Option<String>,
    /// An older name of the same.
    id: Option<String>,
    category: String,
    data: String,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    message_id: &'a str,
    category: &'a str,
    data: &'a str,
    created_at: String,
    user: &'a User,
}

impl Draft {
    /// Reads the body of a POST. What members of the room could not read is refused.
    pub fn read(body: &[u8]) -> Result<Draft, Refusal> {
        let draft: Draft = serde_json::from_slice(body).map_err(|_broken| Refusal::malformed())?;
        if draft.category != "text" {
            return Err(Refusal::new(
                400,
                "only messages of the category text are taken",
            ));
        }
        if LENIENT.decode(&draft.data).is_err() {
            return Err(Refusal::new(400, "the data of a message is base64"));
        }
        if draft.id().is_some_and(|id| id.len() > LONGEST_ID) {
            let why = format!("a message_id has at most {LONGEST_ID} bytes");
            return Err(Refusal::new(400, why));
        }
        Ok(draft)
    }

    /// What the client calls the message.
    pub fn id(&self) -> Option<&str> {
        let named = self.message_id.as_deref().or(self.id.as_deref());
        named.filter(|id| !id.is_empty())
    }

    /// What tells this message from another one with the same id.
    pub fn essence(&self, user: &User) -> String {
        serde_json::json!([user.id, self.category, self.data]).to_string()
    }

    /// The message of a user, as it is kept and sent.
    pub fn compose(&self, user: &User, unix_ms: u64) -> Payload {
        let made;
        let id = match self.id() {
            Some(id) => id,
            None => {
                made = Uuid::new_v4().hyphenated().to_string();
                &made
            }
        };
        Payload::from_value(&Message {
            id,
            message_id: id,
            category: &self.category,
            data: &self.data,
            created_at: rfc3339(unix_ms),
            user,
        })
    }
}

/// An event of a room as its members see it. Only what a user wrote here is shown under that
/// user's name; anything else is a message from callway.
pub fn shown(event: &Event, seal: &Seal) -> Text {
    if seal.is_on(event) {
        return event.payload.as_json().into_owned().into();
    }
    let payload = &event.payload;
    let id = event.id.hyphenated().to_string();
    let written = match payload.form() {
        Form::Json => Draft::read(payload.bytes()).ok(),
        _ => None,
    };
    let data = match written {
        Some(draft) => draft.data,
        None => BASE64.encode(payload.bytes()),
    };
    let message = Message {
        id: &id,
        message_id: &id,
        category: "text",
        data: &data,
        created_at: rfc3339(event.time),
        user: &User::foreign(),
    };
    // Fails only for maps with keys that are not strings.
    serde_json::to_string(&message).unwrap_or_default().into()
}

/// The number of the user who wrote what is shown.
pub(super) fn sender(shown: &str) -> u64 {
    #[derive(Deserialize)]
    struct Shown {
        user: Sender,
    }
    #[derive(Deserialize)]
    struct Sender {
        id: u64,
    }
    serde_json::from_str(shown).map_or(0, |shown: Shown| shown.user.id)
}

/// What is known of a room's past, oldest first, as a bare array.
pub fn list(past: &Past, seal: &Seal) -> String {
    let shown = past.events.iter().map(|placed| shown(&placed.event, seal));
    let mut text = String::from("[");
    for message in shown {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&message);
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::call::ordered_id;

    fn event(id: Uuid, payload: Payload) -> Event {
        Event {
            id,
            channel: "talkee/1/a".into(),
            time: 1_700_000_000_000,
            payload,
            hops: 0,
            traceparent: None,
        }
    }

    fn value(event: &Event, seal: &Seal) -> Value {
        serde_json::from_str(&shown(event, seal)).unwrap()
    }

    #[test]
    fn what_members_could_not_read_is_refused() {
        for body in [
            "",
            "{",
            "[]",
            r#"{"category":"text"}"#,
            r#"{"category":1,"data":""}"#,
        ] {
            let refused = Draft::read(body.as_bytes()).unwrap_err();
            assert_eq!(refused, Refusal::malformed(), "{body}");
        }
        let long = json!({"category": "text", "data": "", "message_id": "x".repeat(256)});
        for body in [
            r#"{"category":"image","data":""}"#.to_owned(),
            r#"{"category":"text","data":"not base64!"}"#.to_owned(),
            long.to_string(),
        ] {
            assert!(Draft::read(body.as_bytes()).is_err(), "{body}");
        }
        for data in ["", "aGV5IHRoZXJl", "SGk=", "SGk"] {
            let body = json!({"category": "text", "data": data}).to_string();
            assert!(Draft::read(body.as_bytes()).is_ok(), "{data}");
        }
    }

    #[test]
    fn nobody_speaks_in_the_name_of_a_user() {
        let seal = Seal::new(&[1; 32]);
        let body = br#"{"category":"text","data":"SGk=","message_id":"m-1"}"#;
        let draft = Draft::read(body).unwrap();
        let mut user = User::foreign();
        user.id = 7;
        let payload = draft.compose(&user, 1_700_000_000_000);
        let id = seal.id("talkee/1/a", payload.bytes(), 1_700_000_000_000);
        let own = value(&event(id, payload.clone()), &seal);
        assert_eq!(
            (&own["id"], &own["message_id"]),
            (&json!("m-1"), &json!("m-1"))
        );
        assert_eq!(
            (&own["user"]["id"], &own["data"]),
            (&json!(7), &json!("SGk="))
        );
        assert_eq!(own["created_at"], "2023-11-14T22:13:20.000Z");

        // The same bytes, published by somebody else.
        let forged = value(&event(ordered_id(), payload), &seal);
        assert_eq!(forged["user"]["id"], 0);
        assert_eq!(forged["data"], "SGk=", "but what it says is shown");
    }

    #[test]
    fn whatever_else_is_published_is_shown_as_text() {
        let seal = Seal::new(&[1; 32]);
        for (payload, text) in [
            (Payload::text("pump 7 is hot"), "pump 7 is hot"),
            (
                Payload::json(r#"{"temperature":22}"#),
                r#"{"temperature":22}"#,
            ),
            (
                Payload::json(r#"{"category":"x","data":""}"#),
                r#"{"category":"x","data":""}"#,
            ),
        ] {
            let shown = value(&event(ordered_id(), payload), &seal);
            let data = BASE64.decode(shown["data"].as_str().unwrap()).unwrap();
            assert_eq!(data, text.as_bytes());
            assert_eq!(shown["category"], "text");
            assert_eq!(sender(&shown.to_string()), 0);
        }
    }
}

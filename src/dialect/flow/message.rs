//! What a user says: read strictly, handed on whole.

use serde_json::{Map, Value, json};

use super::Thread;
use crate::auth::Secret;
use crate::call::Payload;
use crate::config::FlowOptions;

/// Members that clients may leave out, or write down as `null`.
const OPTIONAL: [&str; 6] = [
    "attachment",
    "metadata",
    "nonce",
    "originator",
    "speech",
    "traceId",
];

/// One message of a user.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it was said.
    pub thread: Thread,
    /// All of it but the secret, whatever else its client put into it. `originator` and `metadata`
    /// are always there, because clients look into them when it comes back.
    pub body: Map<String, Value>,
    /// What its client offers as the thread's secret.
    pub nonce: Option<Secret>,
}

impl Message {
    /// Reads the payload of a `message.send`. The error says what is wrong with it.
    pub fn read(options: &FlowOptions, payload: Option<Value>) -> Result<Message, String> {
        let Some(Value::Object(mut body)) = payload else {
            return Err("the payload is not an object".into());
        };
        drop_nulls(&mut body);
        let nonce = match body.remove("nonce") {
            None => None,
            Some(Value::String(text)) if matches!(text.as_str(), "" | "null" | "undefined") => None,
            Some(Value::String(text)) => Some(Secret::new(text)),
            Some(_) => return Err("nonce is a string".into()),
        };
        let thread = match body.get("threadId") {
            Some(Value::String(id)) => Thread::named(options, id),
            None => return Err("threadId is missing".into()),
            Some(_) => return Err("threadId is a string".into()),
        };
        let thread = thread.map_err(|fault| fault.message.into_owned())?;
        if body.get("traceId").is_some_and(|id| !id.is_number()) {
            return Err("traceId is a number".into());
        }
        match body.get("speech") {
            Some(Value::String(_)) => {}
            None if body.contains_key("attachment") => {}
            None => return Err("speech is missing".into()),
            Some(_) => return Err("speech is a string".into()),
        }
        if let Some(attachment) = body.get("attachment") {
            let whole = attachment["type"].is_string() && attachment["payload"].is_object();
            if !whole {
                return Err("an attachment is {type, payload}".into());
            }
        }
        for name in ["originator", "metadata"] {
            match body.get(name) {
                None | Some(Value::Object(_)) => {}
                Some(_) => return Err(format!("{name} is an object")),
            }
        }
        Ok(Message::complete(thread, body, nonce))
    }

    /// With what clients look into.
    pub(super) fn complete(
        thread: Thread,
        mut body: Map<String, Value>,
        nonce: Option<Secret>,
    ) -> Message {
        let id = Value::from(&*thread.id);
        body.insert("threadId".into(), id);
        let nobody = || json!({ "name": "Anonymous", "role": "external", "profile": {} });
        body.entry("originator").or_insert_with(nobody);
        body.entry("metadata").or_insert_with(|| json!({}));
        Message {
            thread,
            body,
            nonce,
        }
    }

    /// What was said, for the reply to refer to.
    pub fn speech(&self) -> Option<&str> {
        self.body.get("speech").and_then(Value::as_str)
    }

    /// What the method is called with: all of it, and which client it came from.
    pub fn params(&self, client: &str) -> Payload {
        let mut params = self.body.clone();
        params.insert("clientId".into(), client.into());
        // Not trusted to be fit to travel: it came from outside.
        Payload::unchecked_json(Value::Object(params).to_string())
    }

    /// The event that it is. The content of a file is not kept.
    pub fn to_event(&self) -> Payload {
        let mut body = self.body.clone();
        if let Some(content) = body
            .get_mut("attachment")
            .and_then(|attachment| attachment.get_mut("payload"))
            .and_then(Value::as_object_mut)
        {
            content.remove("content");
        }
        Payload::from_value(&json!({ "type": "message.send", "payload": body }))
    }

    /// As its client hears that it was delivered.
    pub fn echo(&self) -> Value {
        let event = self.to_event().to_value();
        event["payload"].clone()
    }
}

/// Takes out what a client says that it does not have.
pub(super) fn drop_nulls(body: &mut Map<String, Value>) {
    body.retain(|name, value| !value.is_null() || !OPTIONAL.contains(&name.as_str()));
}

#[cfg(test)]
mod tests {
    use super::super::conversation::tests::options;
    use super::*;

    fn read(payload: Value) -> Result<Message, String> {
        Message::read(&options(false), Some(payload))
    }

    fn params(message: &Message) -> Value {
        let mut params = message.params("first");
        params.check(128).unwrap();
        params.to_value()
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_reason() {
        for (payload, why) in [
            (json!([]), "not an object"),
            (json!({"speech": "hi"}), "threadId is missing"),
            (
                json!({"threadId": 7, "speech": "hi"}),
                "threadId is a string",
            ),
            (json!({"threadId": "", "speech": "hi"}), "1 to 255 bytes"),
            (json!({"threadId": "t"}), "speech is missing"),
            (json!({"threadId": "t", "speech": {}}), "speech is a string"),
            (
                json!({"threadId": "t", "speech": "", "traceId": "1"}),
                "traceId",
            ),
            (json!({"threadId": "t", "speech": "", "nonce": 1}), "nonce"),
            (
                json!({"threadId": "t", "speech": "", "originator": "Jane"}),
                "originator",
            ),
            (
                json!({"threadId": "t", "speech": "", "metadata": []}),
                "metadata",
            ),
            (
                json!({"threadId": "t", "attachment": {"type": "event"}}),
                "{type, payload}",
            ),
        ] {
            let said = read(payload.clone()).expect_err(why);
            assert!(said.contains(why), "{payload}: {said}");
        }
        assert!(Message::read(&options(false), None).is_err());
    }

    #[test]
    fn it_comes_back_whole_but_for_its_secret() {
        let payload = json!({
            "threadId": "t", "speech": "hi", "traceId": 1519091841664_u64, "nonce": "cw_secret",
            "originator": {"name": "Jane", "role": "external"}, "own": [1],
        });
        let message = read(payload).unwrap();
        assert_eq!(
            message.echo(),
            json!({
                "threadId": "t", "speech": "hi", "traceId": 1519091841664_u64,
                "originator": {"name": "Jane", "role": "external"}, "own": [1], "metadata": {},
            })
        );
        assert_eq!(params(&message)["clientId"], "first");
        assert!(message.nonce.is_some() && !format!("{message:?}").contains("cw_secret"));
        let anonymous = read(json!({"threadId": "t", "speech": "", "nonce": "null"})).unwrap();
        assert!(anonymous.nonce.is_none());
        assert_eq!(anonymous.body["originator"]["role"], "external");
        let nothing = json!({
            "threadId": "t", "speech": "hi", "traceId": null, "attachment": null, "nonce": null,
            "originator": null, "metadata": null, "own": null,
        });
        let echo = read(nothing).unwrap().echo();
        assert_eq!(echo["metadata"], json!({}));
        assert!(echo.get("traceId").is_none() && echo.get("attachment").is_none());
        assert!(echo["own"].is_null() && echo.get("own").is_some());
    }

    #[test]
    fn a_file_travels_with_the_call_and_is_not_kept() {
        let attachment = json!({"type": "file", "payload": {"name": "a.png", "content": "AAAA"}});
        let message = read(json!({"threadId": "t", "attachment": attachment})).unwrap();
        assert_eq!(params(&message)["attachment"]["payload"]["content"], "AAAA");
        let event = message.to_event().to_value();
        assert_eq!(
            event["payload"]["attachment"]["payload"],
            json!({"name": "a.png"})
        );
    }
}

//! The members of a message, as the protocol's own server reads them: names in any case, of two
//! members of one name the last, `null` as if it were not there, texts where texts belong.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::auth::Secret;
use crate::call::Payload;

/// The members that mean something to the protocol, and all that may travel on.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) action: String,
    pub(super) api_key: Option<Secret>,
    pub(super) checksum: Option<Secret>,
    pub(super) name: String,
    pub(super) prompt: String,
    pub(super) token: Option<Secret>,
    pub(super) has_message: bool,
    /// Every member but the token and the key, its value as it was written and not looked at yet.
    /// Responders need not know the protocol's names in any case but one.
    pub(super) params: Option<Payload>,
}

/// The members that mean something to the protocol and travel on.
const KNOWN: [&str; 5] = ["action", "checksum", "name", "prompt", "message"];

impl Fields {
    /// Reads a message. `None` for what is no object, or has another type where a text belongs.
    /// `reserved` is the name of a member that does not travel on, because callway adds one.
    pub(super) fn read(message: &Bytes, reserved: Option<&str>) -> Option<Fields> {
        let Members(members) = serde_json::from_slice(message).ok()?;
        let mut fields = Fields::default();
        let mut params = String::with_capacity(message.len());
        for (name, value) in members {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("token") {
                fields.token = secret(value)?;
                continue;
            }
            if is("api_key") {
                fields.api_key = secret(value)?;
                continue;
            }
            if reserved.is_some_and(is) {
                continue;
            }
            let known = KNOWN.into_iter().find(|known| is(known));
            match known {
                Some("action") => fields.action = text(value)?,
                Some("checksum") => fields.checksum = secret(value)?,
                Some("name") => fields.name = text(value)?,
                Some("prompt") => fields.prompt = text(value)?,
                Some("message") => {
                    fields.has_message = !matches!(value.get(), "null" | "\"\"");
                }
                _ => {}
            }
            params.push(if params.is_empty() { '{' } else { ',' });
            params.push_str(&serde_json::Value::from(known.unwrap_or(&name)).to_string());
            params.push(':');
            params.push_str(value.get());
        }
        if params.is_empty() {
            params.push('{');
        }
        params.push('}');
        fields.params = Some(Payload::unchecked_json(params));
        Some(fields)
    }

    /// The members that travel on; none are `{}`.
    pub(super) fn into_params(self) -> Payload {
        self.params.unwrap_or_else(|| Payload::json("{}"))
    }
}

fn text(value: &RawValue) -> Option<String> {
    let text: Option<String> = serde_json::from_str(value.get()).ok()?;
    Some(text.unwrap_or_default())
}

/// None in place of the empty one.
fn secret(value: &RawValue) -> Option<Option<Secret>> {
    let text = text(value)?;
    Some((!text.is_empty()).then(|| Secret::new(text)))
}

/// The members of an object in their order, doubled ones too.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    if members.len() == MOST_MEMBERS {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }

            /// `null` is an object without members, as the protocol's own server has it.
            fn visit_unit<E>(self) -> Result<Members<'de>, E> {
                Ok(Members(Vec::new()))
            }
        }

        deserializer.deserialize_any(Object)
    }
}

/// More members than any client has a use for.
const MOST_MEMBERS: usize = 1024;

/// A name without a copy where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> Option<Fields> {
        Fields::read(&Bytes::copy_from_slice(message.as_bytes()), None)
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for message in [
            "",
            "hello",
            "[]",
            "7",
            "\"x\"",
            r#"{"action":"Register"} {}"#,
            r#"{"action":7}"#,
            r#"{"action":["Register"]}"#,
            r#"{"action":"Register","name":{}}"#,
            r#"{"action":"Disconnect","token":12}"#,
            r#"{"action":"\ud800"}"#,
            // As the reference has it: a comma is missing.
            r#"{ "action": "Register", "API_KEY": "API_KEY1234" "checksum": "azerty", "name": "tom", "prompt": "juste le boss" }"#,
        ] {
            assert!(read(message).is_none(), "{message}");
        }
        assert!(Fields::read(&Bytes::from_static(b"{\"action\":\"\xff\"}"), None).is_none());
        let many = vec![r#""a":1"#; MOST_MEMBERS + 1].join(",");
        assert!(read(&format!("{{{many}}}")).is_none());
    }

    #[test]
    fn names_are_known_in_any_case_and_the_last_one_counts() {
        let fields =
            read(r#"{"Action":"A","ACTION":"B","Api_Key":"k","api_key":null,"Token":"t"}"#);
        let fields = fields.unwrap();
        assert_eq!(fields.action, "B");
        assert!(fields.api_key.is_none(), "null is as good as nothing");
        assert_eq!(fields.token.unwrap().expose(), "t");
        assert_eq!(read("null").unwrap().action, "");
        assert!(!read(r#"{"message":""}"#).unwrap().has_message);
    }

    #[test]
    fn credentials_do_not_travel_however_they_are_written() {
        let message = r#"{"action":"NewMessage","t\u006fken":"s1","TOKEN":"s2","api_KEY":"s3","Message": {"n":[1.50]},"Sender":"ann","x\"y":1}"#;
        let params = read(message).unwrap().into_params();
        assert_eq!(
            params.bytes(),
            r#"{"action":"NewMessage","message":{"n":[1.50]},"Sender":"ann","x\"y":1}"#.as_bytes()
        );
        let empty = read(r#"{"token":"s"}"#).unwrap().into_params();
        assert_eq!(empty.bytes(), "{}".as_bytes());
    }
}

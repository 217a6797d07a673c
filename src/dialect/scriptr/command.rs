//! The commands about channels: `Publish`, `Subscribe`, `Unsubscribe`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::wire::Wanted;
use crate::call::{Fault, Kind, Payload};

/// Older devices write the names with a prefix.
#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, alias = "apsdb.channel")]
    channel: Option<&'a RawValue>,
    #[serde(borrow, alias = "apsdb.message")]
    message: Option<&'a RawValue>,
}

/// What a frame with this method wants, if it is no script that it names.
pub(super) fn read(method: &str, params: Option<&RawValue>) -> Option<Result<Wanted, Failure>> {
    let read: fn(&Params<'_>) -> Option<Wanted> = match method {
        "Publish" => publish,
        "Subscribe" => |params| params.channel().map(Wanted::Subscribe),
        // One client library has the typing error.
        "Unsubscribe" | "Unscubscribe" => unsubscribe,
        _ => return None,
    };
    let params = params.and_then(|params| serde_json::from_str::<Params<'_>>(params.get()).ok());
    let wanted = params.and_then(|params| read(&params));
    Some(wanted.ok_or_else(|| {
        let why = r#"its params are {"channel":"…"}, and a "message" to publish"#;
        Failure::of(&Fault::new(Kind::InvalidParams, why))
    }))
}

impl Params<'_> {
    fn channel(&self) -> Option<String> {
        serde_json::from_str(self.channel?.get()).ok()
    }
}

fn publish(params: &Params<'_>) -> Option<Wanted> {
    // A copy, because an event may outlive the frame by far.
    let message = params.message?.get().as_bytes().to_vec();
    Some(Wanted::Publish(
        params.channel()?,
        Payload::from_message(message.into()),
    ))
}

/// One channel or several.
fn unsubscribe(params: &Params<'_>) -> Option<Wanted> {
    let channels = match params.channel() {
        Some(channel) => vec![channel],
        None => serde_json::from_str(params.channel?.get()).ok()?,
    };
    (!channels.is_empty()).then_some(Wanted::Unsubscribe(channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(method: &str, params: &str) -> Option<Wanted> {
        let params = RawValue::from_string(params.into()).unwrap();
        read(method, Some(&params)).unwrap().ok()
    }

    #[test]
    fn what_names_no_channel_is_refused() {
        for (method, params) in [
            ("Publish", r#"{"channel":"c"}"#),
            ("Publish", r#"{"message":"m"}"#),
            ("Publish", r#"{"channel":7,"message":"m"}"#),
            (
                "Publish",
                r#"{"channel":"c","apsdb.channel":"c","message":1}"#,
            ),
            ("Subscribe", "[]"),
            ("Subscribe", r#"{"channel":["c"]}"#),
            ("Unsubscribe", r#"{"channel":[]}"#),
            ("Unsubscribe", r#"{"channel":[1]}"#),
        ] {
            assert_eq!(wanted(method, params), None, "{method} {params}");
        }
        assert!(read("Subscribe", None).is_some_and(|wanted| wanted.is_err()));
        assert!(
            read("subscribe", None).is_none(),
            "a script may be called so"
        );
    }

    #[test]
    fn older_names_and_typing_errors_are_understood() {
        let published = wanted(
            "Publish",
            r#"{"apsdb.channel":"c","apsdb.message":"{'a'}"}"#,
        );
        let Some(Wanted::Publish(channel, message)) = published else {
            panic!("{published:?}");
        };
        assert_eq!(
            (channel.as_str(), &message.bytes()[..]),
            ("c", &b"{'a'}"[..])
        );
        assert_eq!(
            wanted("Subscribe", r#"{"channel":"c","more":{}}"#),
            Some(Wanted::Subscribe("c".into()))
        );
        assert_eq!(
            wanted("Unscubscribe", r#"{"channel":["a","b"]}"#),
            Some(Wanted::Unsubscribe(vec!["a".into(), "b".into()]))
        );
    }
}

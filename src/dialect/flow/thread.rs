//! Threads: what clients call them, and the channels that they are.

use std::fmt::Write as _;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::asker::channel_id;
use crate::call::{Fault, Kind};
use crate::config::{FlowClient, FlowOptions};
use crate::router::{Segment, check_channel};

/// The prefix of a channel's id in threads that the REST API made.
const REST: &str = "w_";

/// One conversation of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// As its client names it.
    pub id: Arc<str>,
    /// The channel that it is.
    pub channel: Arc<str>,
}

impl Thread {
    /// The thread of this name. One that is no segment of a name even when it is encoded is
    /// refused.
    pub fn named(options: &FlowOptions, id: &str) -> Result<Thread, Fault> {
        let segments = options.channel.segments().iter();
        let segments: Vec<_> = segments
            .map(|segment| match segment {
                Segment::Literal(text) => text.to_string(),
                Segment::One(_) | Segment::Rest(_) => encoded(id),
            })
            .collect();
        let channel = segments.join("/");
        check_channel(&channel).map_err(|_| {
            let message = "a threadId has 1 to 255 bytes, of which / + # { } % | count three";
            Fault::new(Kind::InvalidRequest, message)
        })?;
        Ok(Thread {
            id: id.into(),
            channel: channel.into(),
        })
    }

    /// The thread that a channel is; `None` if it is none of this endpoint.
    pub fn of_channel(options: &FlowOptions, channel: &Arc<str>) -> Option<Thread> {
        if !options.channel.matches(channel) {
            return None;
        }
        let captures = options.channel.captures(channel);
        let id = percent_decode_str(captures.get("threadId")?).decode_utf8();
        Some(Thread {
            id: id.ok()?.into(),
            channel: channel.clone(),
        })
    }

    /// The client that its name says it belongs to: `<unique>|<channel id>`.
    pub fn named_owner<'a>(&self, options: &'a FlowOptions) -> Option<&'a FlowClient> {
        let (_, suffix) = self.id.rsplit_once('|')?;
        let suffix = suffix.strip_prefix(REST).unwrap_or(suffix);
        let mut clients = options.clients.iter();
        clients.find(|client| channel_id(&client.id) == suffix)
    }

    /// Whether its name says that it belongs to another client.
    pub fn names_another(&self, options: &FlowOptions, client: &FlowClient) -> bool {
        let owner = self.named_owner(options);
        owner.is_some_and(|owner| channel_id(&owner.id) != channel_id(&client.id))
    }

    /// A new name for a thread of this channel's id, as the REST API gives them.
    pub fn new_name(channel: &str) -> String {
        let unique = uuid::Uuid::new_v4().hyphenated();
        format!("{unique}|{REST}{channel}")
    }
}

/// As one segment of a name: what may not stand there is percent-encoded, and what that needs.
fn encoded(id: &str) -> String {
    let dots = matches!(id, "." | "..");
    let mut text = String::with_capacity(id.len());
    for c in id.chars() {
        let breaks = matches!(c, '/' | '+' | '#' | '{' | '}' | '%' | '|') || c.is_control();
        if breaks || dots {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a String cannot fail.
                let _ok = write!(text, "%{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::conversation::tests::options;
    use super::*;

    #[test]
    fn names_that_fit_nowhere_are_refused() {
        let long = "x".repeat(256);
        let slashes = "/".repeat(86);
        for id in ["", &long, &slashes] {
            let refused = Thread::named(&options(false), id).unwrap_err();
            assert_eq!(refused.kind, Kind::InvalidRequest, "{id}");
        }
    }

    #[test]
    fn a_name_comes_back_from_its_channel() {
        let options = options(false);
        for (id, channel) in [
            ("jane.doe", "flow/jane.doe"),
            ("58ca|b272|3", "flow/58ca%7Cb272%7C3"),
            ("a/../b+#{}", "flow/a%2F..%2Fb%2B%23%7B%7D"),
            ("..", "flow/%2E%2E"),
            ("100%7C", "flow/100%257C"),
            ("é \u{85}", "flow/é %C2%85"),
        ] {
            let thread = Thread::named(&options, id).unwrap();
            assert_eq!(&*thread.channel, channel);
            assert_eq!(Thread::of_channel(&options, &thread.channel), Some(thread));
        }
        assert_eq!(Thread::of_channel(&options, &"other/x".into()), None);
        assert_eq!(Thread::of_channel(&options, &"flow/%FF".into()), None);
    }

    #[test]
    fn a_name_may_say_whose_it_is() {
        let options = options(false);
        let [first, second] = &options.clients[..] else {
            panic!("two clients")
        };
        let another = |id, client| {
            let thread = Thread::named(&options, id).unwrap();
            thread.names_another(&options, client)
        };
        assert!(!another("jane.doe", first));
        assert!(!another("1f85|first", first) && another("1f85|first", second));
        assert!(another("1f85|w_second", first) && !another("1f85|w_second", second));
        assert!(!another("1f85|unknown", first));
    }
}

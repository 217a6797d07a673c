//! Topic names and filters (MQTT 5.0 §4.7), and the names of channels that they stand for.

use std::borrow::Cow;

use crate::router::Pattern;

/// The topics on which calls are published: the method follows.
pub const CALLS: &str = "callway/call";
/// What a worker subscribes: the pattern of the methods that it answers follows.
pub const SERVE: &str = "callway/serve";
/// Where a worker publishes its answers: the number of the call follows.
pub const ANSWERS: &str = "callway/answer";
/// Topics of replies that need no grant, because only replies come there.
pub const REPLIES: &str = "callway/reply";
/// Subscriptions that several sessions share (§4.8.2).
pub const SHARED: &str = "$share/";

/// An empty level, which topics may have and names may not.
const EMPTY: &str = "%";

/// Whether a filter is one: wildcards fill a whole level, and `#` is the last (§4.7.1).
pub fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    let mut fits = !filter.is_empty();
    while let Some(level) = levels.next() {
        fits &= match level {
            "#" => levels.peek().is_none(),
            "+" => true,
            level => !level.contains(['+', '#']),
        };
    }
    fits
}

/// Whether a topic is one that can be published to: it has a name and no wildcard.
pub fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#'])
}

/// Whether a filter takes a topic.
pub fn matches(filter: &str, topic: &str) -> bool {
    // §4.7.2: wildcards at the start do not reach the broker's own topics.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    let mut filters = filter.split('/');
    loop {
        match (filters.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(filter), Some(level)) if filter == level => {}
            _ => return false,
        }
    }
}

/// Whether there may be a topic that both filters take.
pub fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// What follows a prefix of whole levels: `Some("")` for the prefix itself.
pub fn below<'a>(prefix: &str, topic: &'a str) -> Option<&'a str> {
    let rest = topic.strip_prefix(prefix)?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
}

/// The channel that a topic is the name of.
pub fn channel_of(topic: &str) -> Cow<'_, str> {
    translated(topic, "", EMPTY)
}

/// The topic that has the name of a channel.
pub fn topic_of(channel: &str) -> Cow<'_, str> {
    translated(channel, EMPTY, "")
}

fn translated<'a>(text: &'a str, from: &str, to: &str) -> Cow<'a, str> {
    if !text.split('/').any(|level| level == from) {
        return Cow::Borrowed(text);
    }
    let levels = text.split('/');
    let levels: Vec<_> = levels
        .map(|level| if level == from { to } else { level })
        .collect();
    Cow::Owned(levels.join("/"))
}

/// The filter that takes what a pattern does: `+` for `{name}`, `#` for `{name...}`.
pub fn filter_of(pattern: &Pattern) -> String {
    use crate::router::Segment::{Literal, One, Rest};
    let levels = pattern.segments().iter().map(|segment| match segment {
        Literal(text) => &**text,
        One(_) => "+",
        Rest(_) => "#",
    });
    levels.collect::<Vec<_>>().join("/")
}

/// The patterns that together take the channels of a filter; none if no name can be among them.
pub fn patterns_of(filter: &str) -> Vec<Pattern> {
    let mut levels = Vec::new();
    for (index, level) in filter.split('/').enumerate() {
        levels.push(match level {
            "+" => format!("{{l{index}}}"),
            "#" => format!("{{l{index}...}}"),
            "" => EMPTY.to_owned(),
            level => level.to_owned(),
        });
    }
    let mut texts = vec![levels.join("/")];
    // `a/#` takes `a` as well.
    if filter.ends_with("/#") {
        levels.pop();
        texts.push(levels.join("/"));
    }
    let patterns = texts.iter().map(|text| Pattern::parse(text));
    patterns.filter_map(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_take_what_the_standard_says() {
        for (filter, topic, taken) in [
            ("sport/tennis/#", "sport/tennis", true),
            ("sport/tennis/#", "sport/tennis/player1/ranking", true),
            ("sport/+", "sport/", true),
            ("sport/+", "sport", false),
            ("+/+", "/finance", true),
            ("+", "/finance", false),
            ("/+", "/finance", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
            ("#", "anything/at/all", true),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
        ] {
            assert_eq!(matches(filter, topic), taken, "{filter} {topic}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for filter in ["#", "+", "a/+/b", "a/#", "/", "//", "+/+/#"] {
            assert!(is_filter(filter), "{filter}");
        }
        for broken in ["", "#/a", "a#", "a/b+", "a/#/b", "+a"] {
            assert!(!is_filter(broken), "{broken}");
        }
    }

    #[test]
    fn filters_overlap_where_one_topic_fits_both() {
        for (one, other, both) in [
            ("#", "telemetry/+", true),
            ("telemetry/7", "telemetry/+", true),
            ("telemetry/+/x", "telemetry/+", false),
            ("a/#", "a", true),
            ("+/b", "a/+", true),
            ("a/b", "a/c", false),
        ] {
            assert_eq!(overlap(one, other), both, "{one} {other}");
            assert_eq!(overlap(other, one), both, "{other} {one}");
        }
    }

    #[test]
    fn topics_and_channels_stand_for_each_other() {
        for (topic, channel) in [("a/b", "a/b"), ("/a//b", "%/a/%/b"), ("a/", "a/%")] {
            assert_eq!(channel_of(topic), channel);
            assert_eq!(topic_of(channel), topic);
        }
        let patterns = |filter| -> Vec<String> {
            let patterns = patterns_of(filter);
            patterns.iter().map(Pattern::to_string).collect()
        };
        assert_eq!(patterns("a/+/c"), ["a/{l1}/c"]);
        assert_eq!(patterns("a/#"), ["a/{l1...}", "a"]);
        assert_eq!(patterns("#"), ["{l0...}"]);
        assert_eq!(patterns("/+"), ["%/{l1}"]);
        assert_eq!(patterns("a/{b"), Vec::<String>::new());
        assert_eq!(filter_of(&Pattern::parse("a/{b}/{c...}").unwrap()), "a/+/#");
    }

    #[test]
    fn a_prefix_is_one_of_whole_levels() {
        assert_eq!(below("callway/call", "callway/call"), Some(""));
        assert_eq!(below("callway/call", "callway/call/a/b"), Some("a/b"));
        assert_eq!(below("callway/call", "callway/calls"), None);
    }
}

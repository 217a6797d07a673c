//! Topic names and filters (MQTT 5.0 §4.7).

/// The longest text on the wire, in bytes (§1.5.4).
const LONGEST: usize = 65_535;

/// Whether a message may be published to this topic: no wildcards, and no control characters,
/// over which a broker may close the connection (§1.5.4).
pub fn is_publishable(topic: &str) -> bool {
    (1..=LONGEST).contains(&topic.len())
        && !topic.contains(['+', '#'])
        && !topic.contains(char::is_control)
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

/// What follows a prefix of whole levels: `Some("")` for the prefix itself.
pub fn below<'a>(prefix: &str, topic: &'a str) -> Option<&'a str> {
    let rest = topic.strip_prefix(prefix)?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('/')
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
    fn a_prefix_is_one_of_whole_levels() {
        assert_eq!(below("callway/call", "callway/call"), Some(""));
        assert_eq!(below("callway/call", "callway/call/a/b"), Some("a/b"));
        assert_eq!(below("callway/call", "callway/calls"), None);
    }

    #[test]
    fn nothing_hostile_is_published_to() {
        assert!(is_publishable("callway/reply/7"));
        for topic in ["", "a/+", "#", "a\0b", "a\nb"] {
            assert!(!is_publishable(topic), "{topic:?}");
        }
        assert!(!is_publishable(&"x".repeat(70_000)));
    }
}

//! Topics that may be published to (MQTT 5.0 §4.7).

pub use crate::dialect::mqtt::topic::{below, matches};

/// The longest text on the wire, in bytes (§1.5.4).
const LONGEST: usize = 65_535;

/// Whether a message may be published to this topic: no wildcards, and no control characters,
/// over which a broker may close the connection (§1.5.4).
pub fn is_publishable(topic: &str) -> bool {
    (1..=LONGEST).contains(&topic.len())
        && !topic.contains(['+', '#'])
        && !topic.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hostile_is_published_to() {
        assert!(is_publishable("callway/reply/7"));
        for topic in ["", "a/+", "#", "a\0b", "a\nb"] {
            assert!(!is_publishable(topic), "{topic:?}");
        }
        assert!(!is_publishable(&"x".repeat(70_000)));
    }
}

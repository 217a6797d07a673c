//! Where answers may go: a caller must not make callway write to somebody else's queue.

use super::request::Address;
use crate::config::AmqpBus;
use crate::link::amqp::DEAD;

/// The reply addresses that a bus allows.
pub(super) struct Guard {
    queues: Vec<String>,
    topics: Vec<String>,
    calls: Option<String>,
}

impl Guard {
    pub fn new(bus: &AmqpBus) -> Guard {
        Guard {
            queues: bus.reply_queues.clone(),
            topics: bus.reply_topics.clone(),
            calls: bus.calls.clone(),
        }
    }

    /// Whether answers may go there. callway's own queues are never allowed: an answer is no call.
    pub fn allows(&self, address: &Address) -> bool {
        match address {
            Address::Queue { name, .. } => {
                name.len() <= 255
                    && self.calls.as_deref() != Some(name)
                    && name != DEAD
                    && self
                        .queues
                        .iter()
                        .any(|allowed| queue_matches(allowed, name))
            }
            Address::Topic { topic, .. } => {
                topic.len() <= 255
                    && !topic.contains(['+', '#', '.', '*', '\0'])
                    && self
                        .topics
                        .iter()
                        .any(|allowed| topic_matches(allowed, topic))
            }
        }
    }
}

/// A `*` at the end of a pattern stands for anything.
fn queue_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

/// An MQTT topic filter (MQTT 5.0 §4.7) and a topic.
fn topic_matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for part in filter.split('/') {
        match (part, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (part, Some(level)) if part == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Guard {
            queues: texts(&["amq.rabbitmq.reply-to.*", "callway.*"]),
            topics: texts(&["devices/+/reply", "r/#"]),
            calls: Some("callway.calls".into()),
        }
    }

    fn queue(name: &str) -> bool {
        guard().allows(&Address::queue(name, None))
    }

    fn topic(topic: &str) -> bool {
        guard().allows(&Address::topic(topic, None))
    }

    #[test]
    fn foreign_queues_are_out_of_reach() {
        assert!(queue("amq.rabbitmq.reply-to.g1h2"));
        assert!(queue("callway.reply.7"));
        assert!(!queue("billing"));
        assert!(!queue("callway.calls"), "an answer must not become a call");
        assert!(!queue("callway.dead"));
        assert!(!queue(&format!("callway.{}", "x".repeat(250))));
    }

    #[test]
    fn foreign_topics_are_out_of_reach() {
        assert!(topic("devices/7/reply"));
        assert!(topic("r"));
        assert!(topic("r/a/b"));
        assert!(!topic("devices/7/8/reply"));
        assert!(!topic("devices/7"));
        assert!(
            !topic("r/a.b"),
            "a dot would be a level that the filter does not see"
        );
        assert!(!topic("r/#"));
    }
}

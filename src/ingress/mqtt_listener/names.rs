//! Topics and channels: a channel is published and subscribed by its own name, or by the topic
//! that its row has on a bus.

use std::borrow::Cow;

use crate::config::Config;
use crate::dialect::mqtt::topic::{channel_of, filter_of, overlap, patterns_of};
use crate::router::{Pattern, Place, Reverse, Template, Trie};

/// The rows whose channels have a topic beside their name.
pub struct Names {
    by_channel: Trie<(Pattern, Template)>,
    by_topic: Trie<Reverse>,
    rows: Vec<Row>,
}

struct Row {
    pattern: Pattern,
    /// Takes every topic of the row.
    filter: String,
}

impl Names {
    /// Of the rows of a configuration.
    pub fn of(config: &Config) -> Names {
        let mut names = Names {
            by_channel: Trie::default(),
            by_topic: Trie::default(),
            rows: Vec::new(),
        };
        for row in &config.channels {
            let Some(mqtt) = &row.mqtt else { continue };
            // Without a way back from the topic, the name alone is left.
            let Ok(reverse) = Reverse::new(&row.pattern, &mqtt.topic, '/') else {
                continue;
            };
            let with = (row.pattern.clone(), mqtt.topic.clone());
            names.by_channel.insert(&row.pattern, with);
            names.by_topic.insert(&reverse.levels().clone(), reverse);
            names.rows.push(Row {
                filter: mqtt.topic.filter(&row.pattern, '/'),
                pattern: row.pattern.clone(),
            });
        }
        names
    }

    /// The channel that is meant by a topic.
    pub fn channel<'t>(&self, topic: &'t str) -> Cow<'t, str> {
        let reverse = self.by_topic.find(topic);
        let named = reverse.and_then(|reverse| reverse.name_of(topic));
        named.map_or_else(|| channel_of(topic), Cow::Owned)
    }

    /// The topic of a channel, where its row has one.
    pub fn topic(&self, channel: &str) -> Option<String> {
        let (pattern, topic) = self.by_channel.find(channel)?;
        topic.expand(&pattern.captures(channel), Place::Topic).ok()
    }

    /// Patterns that take every channel whose name or topic a filter takes; and others, where only
    /// the topic tells.
    pub fn patterns(&self, filter: &str) -> Vec<Pattern> {
        let mut patterns = patterns_of(filter);
        let rows = self.rows.iter();
        let by_topic = rows.filter(|row| overlap(&row.filter, filter));
        patterns.extend(by_topic.map(|row| row.pattern.clone()));
        patterns
    }

    /// Whether a filter may take a channel of one of these patterns.
    pub fn touches(&self, filter: &str, granted: &[Pattern]) -> bool {
        let wanted = self.patterns(filter);
        let wanted: Vec<_> = wanted.iter().map(filter_of).collect();
        granted.iter().map(filter_of).any(|granted| {
            let mut wanted = wanted.iter();
            wanted.any(|wanted| overlap(wanted, &granted))
        })
    }
}

//! Topics and channels: a channel is published and subscribed by its own name, by the topic that
//! its row has on a bus, or by its address in an account of scriptr.

use std::borrow::Cow;

use crate::config::{Account, Address, Config, Dialect};
use crate::dialect::mqtt::topic::{channel_of, filter_of, overlap, patterns_of};
use crate::router::{Pattern, Place, Reverse, Template, Trie};

/// What channels are called beside their names.
pub struct Names {
    by_channel: Trie<(Pattern, Template)>,
    by_topic: Trie<Reverse>,
    rows: Vec<Row>,
    accounts: Vec<Account>,
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
            accounts: accounts(config),
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
        if let Some(Address::Message(channel)) = self.address(topic) {
            return Cow::Borrowed(channel);
        }
        let reverse = self.by_topic.find(topic);
        let named = reverse.and_then(|reverse| reverse.name_of(topic));
        named.map_or_else(|| channel_of(topic), Cow::Owned)
    }

    /// What a topic is for among scriptr's addresses, if it is one of them.
    pub fn address<'t>(&self, topic: &'t str) -> Option<Address<'t>> {
        let mut accounts = self.accounts.iter();
        accounts.find_map(|account| account.of_topic(topic))
    }

    /// The topics of a channel beside its name.
    pub fn topics(&self, channel: &str) -> impl Iterator<Item = String> {
        let row = self.by_channel.find(channel);
        let of_row = row.and_then(|(pattern, topic)| {
            topic.expand(&pattern.captures(channel), Place::Topic).ok()
        });
        let accounts = self.accounts.iter();
        of_row
            .into_iter()
            .chain(accounts.map(move |account| account.message_topic(channel)))
    }

    /// Patterns that take every channel whose name or topic a filter takes; and others, where only
    /// the topic tells.
    pub fn patterns(&self, filter: &str) -> Vec<Pattern> {
        let mut patterns = patterns_of(filter);
        let rows = self.rows.iter();
        let by_topic = rows.filter(|row| overlap(&row.filter, filter));
        patterns.extend(by_topic.map(|row| row.pattern.clone()));
        let addresses = self.accounts.iter().filter(|account| {
            let all = account.topics();
            overlap(&all, filter)
        });
        if addresses.count() > 0 {
            patterns.extend(match self.address(filter) {
                Some(Address::Message(channels)) => patterns_of(channels),
                // Any channel has one.
                _ => patterns_of("#"),
            });
        }
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

/// Those of all endpoints: a session may be taken up at another one.
fn accounts(config: &Config) -> Vec<Account> {
    let endpoints = config.listeners.iter().flat_map(|row| &row.endpoints);
    let mut accounts: Vec<Account> = Vec::new();
    for endpoint in endpoints {
        if let Dialect::Mqtt(options) = &endpoint.dialect
            && let Some(account) = &options.scriptr
            && !accounts.contains(account)
        {
            accounts.push(account.clone());
        }
    }
    accounts
}

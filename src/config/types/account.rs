//! scriptr's addresses on a bus: topics and exchanges below a public account name.

use std::fmt;
use std::sync::Arc;

/// `bus.scriptr`: the first level of scriptr's addresses. Public, never a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account(Arc<str>);

/// What an address below an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// The account itself, where older devices send calls that say in their body what they are.
    Whole,
    /// Calls, which name their script in their body.
    Invoke(&'a str),
    /// Events of this channel, both ways.
    Message(&'a str),
}

impl Account {
    /// Reads a name that can be one level of a topic, of a routing key and of a URL.
    pub fn parse(text: &str) -> Result<Account, String> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
            return Err("an account name is made of letters, digits, _ and -".into());
        }
        if text == "callway" {
            return Err(
                "below \"callway\" are callway's own topics; take another account name".into(),
            );
        }
        Ok(Account(text.into()))
    }

    /// The filter of all topics of the account.
    pub fn topics(&self) -> String {
        format!("{self}/#")
    }

    /// The topic of a channel's events.
    pub fn message_topic(&self, channel: &str) -> String {
        format!("{self}/{channel}/message")
    }

    /// The exchange of a channel.
    pub fn exchange(&self, channel: &str) -> String {
        format!("{self}-{channel}")
    }

    /// The routing key of a channel's events.
    pub fn message_key(&self, channel: &str) -> String {
        format!("{self}.{channel}.message")
    }

    /// The routing key of calls.
    pub fn invoke_key(&self, channel: &str) -> String {
        format!("{self}.{channel}.invoke")
    }

    /// What a topic is for, if it is one of this account.
    pub fn of_topic<'a>(&self, topic: &'a str) -> Option<Address<'a>> {
        let rest = topic.strip_prefix(&*self.0)?;
        if rest.is_empty() {
            return Some(Address::Whole);
        }
        address(rest.strip_prefix('/')?.rsplit_once('/')?)
    }

    /// What a routing key is for, if it is one of this account's, of the channel that the exchange
    /// belongs to.
    pub fn of_key<'a>(&self, exchange: &str, key: &'a str) -> Option<Address<'a>> {
        let rest = key.strip_prefix(&*self.0)?.strip_prefix('.')?;
        let (channel, verb) = rest.rsplit_once('.')?;
        let own = exchange.strip_prefix(&*self.0)?.strip_prefix('-')? == channel;
        own.then(|| address((channel, verb))).flatten()
    }
}

fn address<'a>((channel, verb): (&'a str, &str)) -> Option<Address<'a>> {
    match verb {
        _ if channel.is_empty() => None,
        "invoke" => Some(Address::Invoke(channel)),
        "message" => Some(Address::Message(channel)),
        _ => None,
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account::parse("acme").unwrap()
    }

    #[test]
    fn what_is_no_address_of_the_account_is_none() {
        for topic in [
            "acme/",
            "acme/c",
            "acme/c/other",
            "acme//message",
            "acme/message",
            "acmes/c/message",
            "other/c/message",
        ] {
            assert_eq!(account().of_topic(topic), None, "{topic}");
        }
        for (exchange, key) in [
            ("acme-c", "acme.d.message"),
            ("acme-c", "acme.c"),
            ("acme-c", "other.c.message"),
            ("amq.topic", "acme.c.message"),
            ("acme-", "acme..message"),
        ] {
            assert_eq!(account().of_key(exchange, key), None, "{exchange} {key}");
        }
        for name in ["", "a.b", "a/b", "a+", "#", "QUNN=", "callway"] {
            assert!(Account::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn addresses_lead_to_their_channels() {
        let account = account();
        assert_eq!(account.of_topic("acme"), Some(Address::Whole));
        let topic = account.message_topic("telemetry/7");
        assert_eq!(
            account.of_topic(&topic),
            Some(Address::Message("telemetry/7"))
        );
        assert_eq!(
            account.of_topic("acme/c/invoke"),
            Some(Address::Invoke("c"))
        );
        let (exchange, key) = (account.exchange("a.b/c"), account.invoke_key("a.b/c"));
        let found = account.of_key(&exchange, &key);
        assert_eq!(found, Some(Address::Invoke("a.b/c")));
    }
}

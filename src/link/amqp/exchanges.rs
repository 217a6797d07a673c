//! The exchanges that routes and channels name, and scriptr's: checked or declared one by one, so
//! that a wrong one is the trouble of its own rows alone.

use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;
use parking_lot::Mutex;

use super::connect::{Open, answer};
use super::message::short;
use super::topology::MQTT;
use crate::call::Fault;
use crate::config::{AmqpBus, Config, Direction, RouteTarget};

/// Between two looks at an exchange that is not as it should be.
pub(super) const RECHECK: Duration = Duration::from_secs(10);
/// How long an exchange is left alone after the broker closed a channel because of it.
const QUARANTINE: Duration = Duration::from_secs(60);

/// An exchange that a route or a channel names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// Its name.
    pub name: String,
    /// Declare it (durable) with this type instead of checking that it is there.
    pub declare: Option<&'static str>,
}

/// The exchanges that a bus sends to: those that routes and channels name, and the one through
/// which clients of the broker's MQTT are answered.
pub(super) fn outward(config: &Config, bus: &AmqpBus) -> Vec<Exchange> {
    let routes = config
        .routes
        .iter()
        .filter_map(|route| match &route.target {
            RouteTarget::Amqp {
                bus: name,
                exchange,
                declare,
                ..
            } if *name == bus.common.name => Some(Exchange {
                name: exchange.clone(),
                declare: *declare,
            }),
            _ => None,
        });
    let mqtt = (!bus.reply_topics.is_empty()).then(|| Exchange {
        name: MQTT.into(),
        declare: None,
    });
    let channels = of_channels(config, bus, Direction::sends_out);
    let scriptr = of_scriptr(config, bus);
    routes.chain(channels).chain(mqtt).chain(scriptr).collect()
}

/// The exchanges that channels take events from.
pub(super) fn inward(config: &Config, bus: &AmqpBus) -> Vec<Exchange> {
    let channels = of_channels(config, bus, Direction::takes_in);
    channels.chain(of_scriptr(config, bus)).collect()
}

/// scriptr's exchanges: one for each channel that has a name, and not only a pattern.
fn of_scriptr(config: &Config, bus: &AmqpBus) -> impl Iterator<Item = Exchange> {
    let channels = bus.common.scriptr.iter().flat_map(|account| {
        let names = config
            .channels
            .iter()
            .filter_map(|row| row.pattern.literal());
        names.map(|name| account.exchange(name))
    });
    channels.map(|name| Exchange {
        name,
        declare: Some("topic"),
    })
}

fn of_channels(
    config: &Config,
    bus: &AmqpBus,
    goes: fn(Direction) -> bool,
) -> impl Iterator<Item = Exchange> {
    let channels = config.channels.iter();
    let of_bus = channels.filter_map(|channel| channel.amqp.as_ref());
    let of_bus = of_bus.filter(move |amqp| amqp.bus == bus.common.name && goes(amqp.direction));
    of_bus.map(|amqp| Exchange {
        name: amqp.exchange.clone(),
        declare: amqp.declare,
    })
}

struct Known {
    exchange: Exchange,
    trouble: Option<Trouble>,
}

struct Trouble {
    why: String,
    until: Option<Instant>,
}

/// What is known about each exchange.
pub(super) struct Exchanges(Mutex<Vec<Known>>);

impl Exchanges {
    /// These, all taken to be in order until they were looked at. The default exchange always is.
    pub fn new(exchanges: Vec<Exchange>) -> Exchanges {
        let mut known: Vec<Known> = Vec::new();
        for exchange in exchanges {
            let same = |k: &&mut Known| k.exchange.name == exchange.name;
            match known.iter_mut().find(same) {
                Some(known) => {
                    known.exchange.declare = known.exchange.declare.or(exchange.declare);
                }
                None if exchange.name.is_empty() => {}
                None => known.push(Known {
                    exchange,
                    trouble: None,
                }),
            }
        }
        Exchanges(Mutex::new(known))
    }

    /// `unavailable` if the exchange is known not to work.
    pub fn usable(&self, name: &str) -> Result<(), Fault> {
        if name.is_empty() {
            return Ok(());
        }
        let known = self.0.lock();
        let trouble = known
            .iter()
            .find(|known| known.exchange.name == name)
            .and_then(|known| known.trouble.as_ref());
        match trouble {
            None => Ok(()),
            Some(trouble) => Err(Fault::unavailable(
                "exchange",
                format!("exchange {name:?} cannot be used: {}", trouble.why),
            )
            .with_retry_after(RECHECK)),
        }
    }

    /// Whether any exchange is in trouble, and so should be looked at again.
    pub fn any_trouble(&self) -> bool {
        self.0.lock().iter().any(|known| known.trouble.is_some())
    }

    /// Why an exchange is in trouble.
    pub fn trouble(&self) -> Option<String> {
        let known = self.0.lock();
        known.iter().find_map(|known| {
            let trouble = known.trouble.as_ref()?;
            Some(format!(
                "exchange {:?}: {}",
                known.exchange.name, trouble.why
            ))
        })
    }

    /// Looks at every exchange, or only at those in trouble. A look that fails closes its channel,
    /// so each has one of its own.
    pub async fn look(&self, open: &Open, only_troubled: bool) {
        for exchange in self.due(only_troubled) {
            self.found(&exchange.name, look_at(open, &exchange).await);
        }
    }

    /// The exchanges to look at: all, or only those in trouble.
    pub fn due(&self, only_troubled: bool) -> Vec<Exchange> {
        let now = Instant::now();
        let known = self.0.lock();
        let due = |known: &&Known| match &known.trouble {
            None => !only_troubled,
            Some(trouble) => trouble.until.is_none_or(|until| until <= now),
        };
        let due = known.iter().filter(due);
        due.map(|known| known.exchange.clone()).collect()
    }

    /// What a look at one of them came to.
    pub fn found(&self, name: &str, found: Result<(), String>) {
        let trouble = found.err().map(|why| Trouble { why, until: None });
        self.set(name, trouble);
    }

    /// The broker closed a channel with this text. If it names one of the exchanges, that one is
    /// left alone for a while: another try would only close the next channel for everybody.
    pub fn blame(&self, text: &str) {
        let names: Vec<String> = {
            let known = self.0.lock();
            let named = known.iter().map(|known| known.exchange.name.clone());
            let quoted = |name: &String| text.contains(&format!("exchange '{name}'"));
            named.filter(quoted).collect()
        };
        for name in names {
            let trouble = Trouble {
                why: text.to_owned(),
                until: Some(Instant::now() + QUARANTINE),
            };
            self.set(&name, Some(trouble));
        }
    }

    fn set(&self, name: &str, trouble: Option<Trouble>) {
        let mut known = self.0.lock();
        let Some(known) = known.iter_mut().find(|known| known.exchange.name == name) else {
            return;
        };
        match (&known.trouble, &trouble) {
            (None, Some(now)) => tracing::warn!(exchange = name, why = now.why, "exchange refused"),
            (Some(_), None) => tracing::info!(exchange = name, "exchange usable again"),
            _ => {}
        }
        known.trouble = trouble;
    }
}

/// Declares or looks at an exchange, on a channel of its own.
pub(super) async fn look_at(open: &Open, exchange: &Exchange) -> Result<(), String> {
    let channel = open.channel().await?;
    let name = short(&exchange.name).ok_or("its name has more than 255 bytes")?;
    let options = ExchangeDeclareOptions {
        passive: exchange.declare.is_none(),
        durable: true,
        ..Default::default()
    };
    // A passive look does not compare the type.
    let kind = match exchange.declare {
        Some("direct") => ExchangeKind::Direct,
        Some("fanout") => ExchangeKind::Fanout,
        _ => ExchangeKind::Topic,
    };
    let asked = channel.exchange_declare(name, kind, options, FieldTable::default());
    answer("declare", asked).await
}

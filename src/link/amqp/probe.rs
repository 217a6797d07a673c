//! Looks at a broker without changing anything there: what `callway check --live` tells of a bus.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use super::connect::{Open, Server, answer, open};
use super::events;
use super::exchanges::{self, Exchange, look_at};
use super::message::short;
use super::sending::setup;
use crate::config::{AmqpBus, Config};

/// One thing that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// What it is, such as `exchange "events"`.
    pub what: String,
    /// Whether it works; if not, why.
    pub works: Result<(), String>,
}

/// Connects to a bus, logs in, and looks at what its routes, channels and calls need. Takes about
/// five seconds at most for each thing.
pub async fn probe(config: &Config, bus: &AmqpBus) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |what: String, works: Result<(), String>| findings.push(Finding { what, works });
    let opened = match Server::of(bus) {
        Ok(server) => open(&server, "callway check").await,
        Err(why) => Err(why),
    };
    let open = match opened {
        Ok((open, _events)) => {
            note("connection".into(), Ok(()));
            open
        }
        Err(why) => {
            note("connection".into(), Err(why));
            return findings;
        }
    };
    note("direct reply-to".into(), setup(&open).await.map(drop));
    let (outward, inward) = (
        exchanges::outward(config, bus),
        exchanges::inward(config, bus),
    );
    let mut seen = vec![String::new()]; // the default exchange is always there
    for exchange in outward.iter().chain(&inward) {
        if seen.contains(&exchange.name) {
            continue;
        }
        seen.push(exchange.name.clone());
        let asked = Exchange {
            declare: None,
            ..exchange.clone()
        };
        let what = format!("exchange {:?}", exchange.name);
        let found = look_at(&open, &asked).await;
        let (what, works) = match exchange.declare {
            Some(_) => to_come(what, found),
            None => (what, found),
        };
        note(what, works);
    }
    let events = (!inward.is_empty()).then(|| events::queue(config, bus));
    for queue in bus.calls.iter().chain(&events) {
        let found = look_at_queue(&open, queue).await;
        let (what, works) = to_come(format!("queue {queue:?}"), found);
        note(what, works);
    }
    open.close().await;
    findings
}

/// What callway itself declares when it runs may be missing before.
fn to_come(what: String, found: Result<(), String>) -> (String, Result<(), String>) {
    match found {
        Err(why) if why.contains("NOT_FOUND") => {
            (format!("{what}, which callway will declare,"), Ok(()))
        }
        found => (what, found),
    }
}

async fn look_at_queue(open: &Open, queue: &str) -> Result<(), String> {
    let channel = open.channel().await?;
    let name = short(queue).ok_or("its name has more than 255 bytes")?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let asked = channel.queue_declare(name, passive, FieldTable::default());
    answer("look", asked).await.map(drop)
}

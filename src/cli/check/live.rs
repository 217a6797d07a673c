//! `callway check --live`: what works on each bus.

use std::fmt;
use std::io;

use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::config::{Bus, Config};
use crate::link::{amqp, mqtt};

/// One thing that was looked at on a bus.
pub struct Found {
    bus: String,
    what: String,
    /// Whether it works; if not, why.
    pub works: Result<(), String>,
}

impl Found {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let mut shown = json!({ "bus": self.bus, "what": self.what, "works": self.works.is_ok() });
        if let Err(why) = &self.works {
            shown["why"] = why.as_str().into();
        }
        shown
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.works {
            Ok(()) => write!(f, "bus {}: {} works", self.bus, self.what),
            Err(why) => write!(f, "bus {}: {} does not work: {why}", self.bus, self.what),
        }
    }
}

/// Connects to one bus after the other; each takes some seconds at most.
pub fn look(config: &Config) -> io::Result<Vec<Found>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(look_at_all(config)))
}

async fn look_at_all(config: &Config) -> Vec<Found> {
    let mut all = Vec::new();
    for bus in &config.buses {
        match bus {
            Bus::Mqtt(bus) => {
                let (what, works) = match mqtt::probe(config, bus).await {
                    Ok(what) => (what, Ok(())),
                    Err(why) => ("connection".to_owned(), Err(why)),
                };
                let bus = bus.common.name.to_string();
                all.push(Found { bus, what, works });
            }
            Bus::Amqp(bus) => {
                let findings = amqp::probe(config, bus).await;
                all.extend(findings.into_iter().map(|finding| Found {
                    bus: bus.common.name.to_string(),
                    what: finding.what,
                    works: finding.works,
                }));
            }
        }
    }
    all
}

//! The queue of a bus for events that come in, and what it is bound to: as channels want it now,
//! and no more as an earlier configuration wanted it.

use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;
use serde::{Deserialize, Serialize};

use super::connect::{Open, answer};
use super::exchanges::{self, Exchanges, look_at};
use super::message::short;
use super::topology;
use crate::config::{AmqpBus, Config};
use crate::context::Context;
use crate::link::memory::Memory;

/// One way from an exchange into the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Binding {
    queue: String,
    exchange: String,
    key: String,
}

/// What is received of events.
pub(super) struct Events {
    queue: String,
    wanted: Vec<Binding>,
    exchanges: Exchanges,
    memory: Memory<Binding>,
}

/// The queue for events of a bus. Processes of one group share it, and so the work; two buses that
/// lead to one virtual host do not, for each wants other events.
pub(super) fn queue(config: &Config, bus: &AmqpBus) -> String {
    format!("{}.{}.events", config.cluster.group, bus.common.name)
}

/// What the channels of a bus take in: exchanges and binding keys.
fn wanted(config: &Config, bus: &AmqpBus) -> Vec<Binding> {
    let mut wanted = Vec::new();
    for channel in &config.channels {
        let Some(amqp) = &channel.amqp else { continue };
        if amqp.bus != bus.common.name || !amqp.direction.takes_in() {
            continue;
        }
        let binding = Binding {
            queue: queue(config, bus),
            exchange: amqp.exchange.clone(),
            // AMQP's word for one level.
            key: amqp
                .routing_key
                .filter(&channel.pattern, '.')
                .replace('+', "*"),
        };
        if !wanted.contains(&binding) {
            wanted.push(binding);
        }
    }
    wanted.extend(scriptr(config, bus));
    wanted
}

/// What comes to scriptr's addresses: calls as well, which name their script in their body.
fn scriptr(config: &Config, bus: &AmqpBus) -> Vec<Binding> {
    let Some(account) = &bus.common.scriptr else {
        return Vec::new();
    };
    let names = config
        .channels
        .iter()
        .filter_map(|row| row.pattern.literal());
    let bindings = names.flat_map(|name| {
        [account.message_key(name), account.invoke_key(name)].map(|key| Binding {
            queue: queue(config, bus),
            exchange: account.exchange(name),
            key,
        })
    });
    bindings.collect()
}

impl Events {
    pub fn of(context: &Context, bus: &AmqpBus) -> Events {
        let config = &context.config;
        let memory = format!("amqp/{}/bound", bus.common.name);
        Events {
            queue: queue(config, bus),
            wanted: wanted(config, bus),
            exchanges: Exchanges::new(exchanges::inward(config, bus)),
            memory: Memory::new(&context.store, memory),
        }
    }

    /// Where they arrive.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Whether any channel takes events in.
    pub fn any(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether nothing is wanted and nothing is to be taken back.
    pub async fn is_idle(&self) -> bool {
        !self.any() && self.memory.recall().await.is_empty()
    }

    /// Whether something is not bound.
    pub fn is_troubled(&self) -> bool {
        self.exchanges.any_trouble()
    }

    /// Why not everything is bound.
    pub fn trouble(&self) -> Option<String> {
        self.exchanges.trouble()
    }

    /// Declares the queue and binds it. An exchange that is not as it should be is the trouble of
    /// its own channels alone.
    pub async fn declare(&self, open: &Open) -> Result<(), String> {
        let gone = self.memory.add(&self.wanted).await;
        if self.any() {
            topology::declare_events(open, &self.queue).await?;
            self.bind(open, false).await;
        }
        if gone.is_empty() {
            return Ok(());
        }
        let mut left = self.wanted.clone();
        for binding in gone {
            match unbind(open, &binding).await {
                Ok(()) => tracing::info!(?binding, "unbound"),
                Err(why) => {
                    tracing::warn!(?binding, why, "cannot be unbound");
                    left.push(binding);
                }
            }
        }
        self.memory.keep(&left).await;
        Ok(())
    }

    /// Binds to every exchange, or only to those in trouble.
    pub async fn bind(&self, open: &Open, only_troubled: bool) {
        for exchange in self.exchanges.due(only_troubled) {
            let mut found = look_at(open, &exchange).await;
            if found.is_ok() {
                found = self.bind_to(open, &exchange.name).await;
            }
            self.exchanges.found(&exchange.name, found);
        }
    }

    /// On a channel of its own, because a refusal closes it.
    async fn bind_to(&self, open: &Open, exchange: &str) -> Result<(), String> {
        let channel = open.channel().await?;
        let bindings = self.wanted.iter();
        for binding in bindings.filter(|binding| binding.exchange == exchange) {
            let [queue, exchange, key] = binding.names()?;
            let options = QueueBindOptions::default();
            let asked = channel.queue_bind(queue, exchange, key, options, FieldTable::default());
            answer("binding", asked).await?;
        }
        Ok(())
    }
}

impl Binding {
    fn names(&self) -> Result<[lapin::types::ShortString; 3], String> {
        let names = (short(&self.queue), short(&self.exchange), short(&self.key));
        match names {
            (Some(queue), Some(exchange), Some(key)) => Ok([queue, exchange, key]),
            _ => Err("a name has more than 255 bytes".into()),
        }
    }
}

/// What is not there is unbound already.
async fn unbind(open: &Open, binding: &Binding) -> Result<(), String> {
    let channel = open.channel().await?;
    let [queue, exchange, key] = binding.names()?;
    let asked = channel.queue_unbind(queue, exchange, key, FieldTable::default());
    answer("unbinding", asked).await
}

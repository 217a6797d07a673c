//! scriptr's addresses, to which the events of every channel go that their bus may hear of.

use std::sync::Arc;

use super::record::To;
use crate::auth::Verb;
use crate::channel::Event;
use crate::config::{Account, Bus, Channel};
use crate::context::Context;

/// Bytes of a channel's name that fit into an exchange's and a key, beside an account.
const LONGEST: usize = 180;

/// One bus with an account.
pub(super) struct Outlet {
    pub(super) bus: Arc<str>,
    account: Account,
    /// The token row whose grants say what may be heard there.
    caller: Arc<str>,
    amqp: bool,
}

/// Those of the configuration. Without a caller there is nobody who may hear anything.
pub(super) fn outlets(context: &Context) -> Vec<Outlet> {
    let outlet = |bus: &Bus| {
        let common = bus.common();
        Some(Outlet {
            bus: common.name.clone(),
            account: common.scriptr.clone()?,
            caller: common.caller.clone()?,
            amqp: matches!(bus, Bus::Amqp(_)),
        })
    };
    context.config.buses.iter().filter_map(outlet).collect()
}

impl Outlet {
    /// Where an event goes. On AMQP there are exchanges only for channels that have a name.
    pub(super) fn address(&self, context: &Context, event: &Event, row: &Channel) -> Option<To> {
        let channel = &*event.channel;
        if self.amqp && (row.pattern.literal().is_none() || channel.len() > LONGEST) {
            return None;
        }
        let caller = context.auth.by_name(&self.caller)?;
        if !caller.may(Verb::Subscribe, channel) {
            return None;
        }
        Some(match self.amqp {
            true => To::Amqp {
                exchange: self.account.exchange(channel),
                routing_key: self.account.message_key(channel),
            },
            false => To::Mqtt {
                topic: self.account.message_topic(channel),
                qos: 1,
            },
        })
    }
}

//! scriptr's addresses: `<account>/<channel>/invoke` and `/message`, and the account itself, where
//! older devices publish.

use super::calls::Asked;
use super::names::Names;
use crate::config::Address;
use crate::context::Context;
use crate::dialect::mqtt::Publish;
use crate::dialect::mqtt::topic::topic_of;
use crate::dialect::scriptr::publication;

/// What a message means.
pub(super) enum Meant {
    /// Boxed, because most are events.
    Call(Box<Asked>),
    /// For the channel that its topic names.
    Event(Publish),
}

/// Reads a message on any topic that has no other meaning.
pub(super) fn read(context: &Context, names: &Names, publish: Publish) -> Meant {
    let channel = match names.address(&publish.topic) {
        None | Some(Address::Message(_)) => return Meant::Event(publish),
        Some(Address::Invoke(channel)) => Some(channel.to_owned()),
        Some(Address::Whole) => match publication(&publish.payload) {
            // In the words of the WebSocket. Who says it is known from the connection.
            Some((channel, payload)) => {
                return Meant::Event(Publish {
                    topic: topic_of(&channel).into_owned(),
                    payload: payload.bytes().clone(),
                    ..publish
                });
            }
            None => None,
        },
    };
    Meant::Call(Box::new(Asked::invoke(
        context,
        channel.as_deref(),
        publish,
    )))
}

//! Events, before and after they have their place in a channel.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use uuid::Uuid;

use super::Position;
use crate::call::{Payload, Text, rfc3339};

/// What was published.
#[derive(Clone, Debug)]
pub struct Event {
    /// UUID version 7; stays with it over every bus.
    pub id: Uuid,
    /// The channel's name.
    pub channel: Arc<str>,
    /// When it was published, in milliseconds since 1970.
    pub time: u64,
    /// The bare payload, its form settled.
    pub payload: Payload,
    /// How often it has passed through callway already.
    pub hops: u32,
    /// W3C Trace Context `traceparent`, well formed.
    pub traceparent: Option<Arc<str>>,
}

impl Event {
    /// The members as clients see them, a JSON object. `position` is left out where there is none.
    pub fn to_json(&self, position: Option<Position>) -> String {
        let payload = self.payload.as_json();
        let channel = Value::from(&*self.channel);
        let mut text = String::with_capacity(payload.len() + self.channel.len() + 160);
        // Writing to a String cannot fail.
        let _ok = write!(
            text,
            r#"{{"channel":{channel},"id":"{}""#,
            self.id.hyphenated()
        );
        if let Some(position) = position {
            let _ok = write!(text, r#","position":"{position}""#);
        }
        let time = rfc3339(self.time);
        let _ok = write!(text, r#","time":"{time}","payload":{payload}}}"#);
        text
    }
}

/// The shapes in which an event is sent to many readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A JSON-RPC notification.
    Notification,
    /// A block of an event stream.
    Block,
    /// The payload alone.
    Raw,
    /// A message as Talkee shows it.
    Talkee,
}

const SHAPES: usize = 4;

/// An event in its place. Shared by all that it is sent to, together with the texts made of it.
#[derive(Debug)]
pub struct Placed {
    /// What was published.
    pub event: Event,
    /// Where it stands in its channel.
    pub position: Position,
    texts: [OnceLock<Text>; SHAPES],
}

impl Placed {
    /// Nothing is rendered yet.
    pub fn new(event: Event, position: Position) -> Placed {
        Placed {
            event,
            position,
            texts: Default::default(),
        }
    }

    /// The members as clients see them, a JSON object.
    pub fn to_json(&self) -> String {
        self.event.to_json(Some(self.position))
    }

    /// The text of this shape, rendered once however many readers there are.
    pub fn text(&self, shape: Shape, render: impl FnOnce(&Placed) -> Text) -> Text {
        let text = self.texts[shape as usize].get_or_init(|| render(self));
        text.clone()
    }

    /// What it counts in a queue: small events take room too.
    pub(super) fn cost(&self) -> usize {
        const OVERHEAD: usize = 64;
        self.event.payload.len() + self.event.channel.len() + OVERHEAD
    }
}

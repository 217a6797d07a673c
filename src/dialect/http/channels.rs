//! Channels over HTTP: `/channels/<channel>` is published to, looked back into and followed.

use std::sync::Arc;

use bytes::Bytes;

use super::message::{Answer, Head};
use super::path::method_name;
use super::query::Query;
use crate::call::{Fault, Kind, Payload, Text};
use crate::channel::{Placed, Position, Shape, Subscribed};
use crate::dialect::Told;

/// The first segment of paths that name a channel.
const PREFIX: &str = "channels/";
const EVENT_STREAM: &str = "text/event-stream";

/// What a request wants of a channel.
#[derive(Debug)]
pub enum Wanted {
    /// To publish.
    Publish(Arc<str>, Payload),
    /// To see events; or why it is not clear which. Whether the caller may comes first.
    Events(Arc<str>, Result<Selection, Fault>),
}

/// Which events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Those that come from now on, too.
    pub follow: bool,
    /// How many of the past at most.
    pub count: Option<usize>,
    /// Those behind this one.
    pub since: Option<Position>,
}

/// What a request wants, if its path names a channel.
pub(super) fn read(head: &Head, body: Bytes) -> Result<Option<Wanted>, Fault> {
    let Some(path) = head.path.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    let channel = method_name(path)?.into();
    Ok(Some(match head.is_get() {
        true => Wanted::Events(channel, selection(head)),
        false => {
            let payload = Payload::from_body(body, head.header("content-type"));
            Wanted::Publish(channel, payload)
        }
    }))
}

fn selection(head: &Head) -> Result<Selection, Fault> {
    let query = Query::parse(head.query.as_bytes());
    let follow = head.verb == "GET" && accepts_events(head);
    // A browser that connects again sends both; the header is the newer one.
    let resumed = head.header("last-event-id").filter(|id| !id.is_empty());
    let since = resumed.or_else(|| query.get("since"));
    let since = since.map(|text| text.parse::<Position>()).transpose();
    let count = query.get("count").map(str::parse).transpose();
    Ok(Selection {
        follow,
        since: since.map_err(|why| invalid(format!("since: {why}")))?,
        count: count.map_err(|_| invalid("count is a number of events".into()))?,
    })
}

fn invalid(why: String) -> Fault {
    Fault::new(Kind::InvalidParams, why)
}

fn accepts_events(head: &Head) -> bool {
    let mut types = head.all("accept").flat_map(|field| field.split(','));
    types.any(|one| {
        let essence = one.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case(EVENT_STREAM)
    })
}

/// The answer to what was asked of a channel.
pub(super) fn told(told: &Told) -> Answer {
    match told {
        Told::Published(kept) => {
            let status = if kept.delivered { 204 } else { 202 };
            let answer = Answer::empty(status).with("callway-event-id", kept.id.to_string());
            match kept.position {
                Some(position) => answer.with("callway-position", position.to_string()),
                None => answer,
            }
        }
        Told::Past(past) => {
            Answer::new(200, "application/json", past.to_json()).with("cache-control", "no-store")
        }
        // Nothing that a request asks for.
        Told::Subscribed(_) | Told::Unsubscribed(_) | Told::Status(..) | Told::Flow(_) => {
            Answer::empty(204)
        }
    }
}

/// The head of an event stream (the HTML standard's server-sent events).
pub fn stream_head() -> Answer {
    Answer::new(200, EVENT_STREAM, "")
        .with("cache-control", "no-store")
        // What stands in front of callway must not gather events.
        .with("x-accel-buffering", "no")
}

/// The beginning of an event stream. Its `id` makes a browser that loses it at once come back to
/// the same place; there is no event in it.
pub fn stream_start(subscribed: &Subscribed) -> String {
    let Subscribed {
        position,
        recovered,
    } = subscribed;
    format!(": recovered={recovered}\nid: {position}\n\n")
}

/// One event of a stream.
pub fn block(placed: &Placed) -> Text {
    placed.text(Shape::Block, |placed| {
        // Line ends can only stand between the tokens of a payload, where a blank does as well.
        let data = placed.to_json().replace(['\n', '\r'], " ");
        format!("id: {}\ndata: {data}\n\n", placed.position).into()
    })
}

/// What shows that a stream is alive.
pub const ALIVE: &str = ":\n\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Event;

    fn head(verb: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter();
        Head {
            verb: verb.into(),
            base: "/".into(),
            path: path.into(),
            query: query.into(),
            headers: headers
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
        }
    }

    fn events(query: &str, headers: &[(&str, &str)]) -> Result<Selection, Kind> {
        let head = head("GET", "channels/a", query, headers);
        match read(&head, Bytes::new()) {
            Ok(Some(Wanted::Events(_, selection))) => selection.map_err(|fault| fault.kind),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_selects_nothing_is_refused() {
        for query in ["count=x", "count=-1", "since=x", "since=1:", "since="] {
            assert_eq!(events(query, &[]), Err(Kind::InvalidParams), "{query}");
        }
        let bad = events("since=a:1", &[("last-event-id", "b")]);
        assert_eq!(bad, Err(Kind::InvalidParams));
        let slash = read(&head("POST", "channels/a%2Fb", "", &[]), Bytes::new());
        assert_eq!(slash.unwrap_err().kind, Kind::InvalidRequest);
        let other = read(&head("POST", "channel/a", "", &[]), Bytes::new());
        assert!(other.unwrap().is_none());
    }

    #[test]
    fn the_header_is_newer_than_the_query() {
        let stream = ("accept", "text/html, Text/Event-Stream;q=0.9");
        let selection = events(
            "since=a:1&token=x&count=5",
            &[stream, ("last-event-id", "a:7")],
        );
        let wanted = Selection {
            follow: true,
            count: Some(5),
            since: Some(Position { epoch: 10, seq: 7 }),
        };
        assert_eq!(selection, Ok(wanted));
        let plain = events("since=a:1", &[("last-event-id", ""), ("accept", "*/*")]).unwrap();
        assert_eq!((plain.follow, plain.since.map(|p| p.seq)), (false, Some(1)));
    }

    #[test]
    fn an_event_is_one_block_whatever_is_in_it() {
        let event = Event {
            id: uuid::Uuid::nil(),
            channel: "a\u{2028}b".into(),
            time: 0,
            payload: Payload::json("{\r\n \"a\\n\": [1,\n2]}"),
            hops: 0,
            traceparent: None,
        };
        let placed = Placed::new(event, Position { epoch: 10, seq: 7 });
        let block = block(&placed);
        let lines: Vec<_> = block.split('\n').collect();
        assert_eq!((lines.len(), lines[0]), (4, "id: a:7"));
        let data = lines[1].strip_prefix("data: ").unwrap();
        let shown: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(shown["payload"], serde_json::json!({"a\n": [1, 2]}));
    }
}

//! What the daemon and the host of a service say to each other: JSON behind a length.
//!
//! A service waits far more than it talks, so its frames need not be as lean as those of
//! [`crate::script::wire`]; payloads travel as the text that they are.

use std::io::{self, ErrorKind};

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::script::wire::Problem;

/// JSON text that is passed on as it is.
pub type Json = Box<RawValue>;
/// What came of a question: a value, or what the script gets thrown.
pub type Outcome = Result<Json, Thrown>;

/// What the daemon tells the host of a service.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToService {
    /// The first frame.
    Start(Box<Start>),
    /// Something happened that the script may have a handler for.
    Happened {
        /// How often it has passed through callway.
        hops: u32,
        /// What it was.
        what: Happened,
    },
    /// A method that the service answers was called.
    Call {
        /// Names the call between daemon and host.
        call: u64,
        /// How often it has passed through callway.
        hops: u32,
        /// The global function that answers.
        handler: String,
        /// The params.
        params: Json,
        /// The method.
        method: String,
        /// The call's id as callers and logs know it.
        id: String,
    },
    /// Nobody waits for the outcome of this call any more.
    Cancel(u64),
    /// The answer to the question of this number.
    Answer(u64, Outcome),
    /// Asks whether the host still comes to reading.
    Ping,
}

/// What a service starts with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// The service's name.
    pub name: String,
    /// Its script below the scripts' directory, beginning with `/`.
    pub path: String,
    /// The text of the script.
    pub source: String,
    /// CPU time between two waits, in microseconds.
    pub time_us: u64,
    /// Bytes that the interpreter may hold.
    pub memory: u64,
    /// Bytes of one message.
    pub message: usize,
    /// What `save` kept last.
    pub saved: Option<String>,
}

/// What a service can hear of.
#[derive(Debug, Serialize, Deserialize)]
pub enum Happened {
    /// News of a WebSocket: title, type, message, code.
    Socket(String, String, String, String),
    /// An event of the chat.
    Chat(Json),
    /// An event of a channel that it subscribed to, as clients see it.
    Channel(String, Json),
}

/// What the host of a service tells the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromService {
    /// The sandbox is closed.
    Ready,
    /// The answer to a ping.
    Alive,
    /// A line of `log`.
    Log(String),
    /// Members that do nothing here were used, each so many times.
    Ignored(Vec<(String, u64)>),
    /// A coroutine other than the main one failed.
    Failed(Problem),
    /// There are too many coroutines for another one, so what it was for is lost.
    Full,
    /// A coroutine waits for something.
    Ask {
        /// Names the question.
        ask: u64,
        /// The call that it is asked for.
        within: Option<u64>,
        /// How often what it is asked for has passed through callway.
        hops: u32,
        /// What it asks.
        what: Ask,
    },
    /// Nobody waits for the answer to this question any more.
    Drop(u64),
    /// A WebSocket is to be opened: title, URL, header names and values.
    Open(String, String, Vec<(String, String)>),
    /// A text for a WebSocket: title, text.
    Send(String, String),
    /// A WebSocket is to be closed and forgotten.
    Remove(String),
    /// An event for the chat, and how often it has passed through callway.
    Say(u32, Json),
    /// What came of a call.
    Replied(u64, Result<Json, Problem>),
    /// The service is over: `None` if its main function returned.
    Ended(Option<End>),
}

/// What a coroutine waits for.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// So many seconds.
    Wait(f64),
    /// The outcome of a call: method, params.
    Call(String, Json),
    /// That an event is kept: channel, payload.
    Publish(String, Json),
    /// A web request: the argument of `http.request`.
    Fetch(Json),
    /// That a channel is subscribed to.
    Subscribe(String),
    /// That it is not any more.
    Unsubscribe(String),
    /// That methods are answered: pattern, handler.
    Serve(String, String),
    /// That the settings are kept.
    Save(String),
    /// That a user's data are kept: user, name, data.
    KeepUser(String, String, Json),
    /// A user's data: user, name.
    RecallUser(String, String),
    /// A user's balance, after this.
    Currency(String, Change),
}

/// What may be done to a balance.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Change {
    /// Nothing.
    Look,
    /// More, or with a negative number less; never below nothing.
    Add(f64),
    /// Just this much.
    Set(f64),
}

/// How a service came to its end against its will.
#[derive(Debug, Serialize, Deserialize)]
pub enum End {
    /// Its main function threw, or its script could not be started.
    Threw(Problem),
    /// A budget ran out: which.
    Limit(String),
}

/// An error that the daemon makes a script throw.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // as in `call::Fault`
pub struct Thrown {
    pub kind: String,
    pub message: String,
    pub data: Option<Json>,
}

/// Appends a frame.
pub fn write(frame: &impl Serialize, out: &mut BytesMut) {
    let start = out.len();
    out.put_u32_le(0);
    // Fails only for maps with keys that are not strings, which no frame has.
    if serde_json::to_writer(out.writer(), frame).is_err() {
        out.truncate(start);
        return;
    }
    let length = (out.len() - start - size_of::<u32>()) as u32;
    out[start..start + size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
}

/// Reads a frame that [`crate::script::wire::split`] split off.
pub fn read<T: for<'a> Deserialize<'a>>(frame: &Bytes) -> io::Result<T> {
    serde_json::from_slice(frame).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// JSON text that this process made.
pub fn json(text: String) -> Json {
    // What is not JSON never gets here; `null` would be the honest rest.
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::wire::split;

    #[test]
    fn payloads_arrive_as_they_were_sent() {
        let mut out = BytesMut::new();
        let params = json(r#"{"a": 1.50}"#.into());
        let what = Ask::Call("a/b".into(), params);
        let (ask, hops, within) = (7, 2, None);
        write(
            &FromService::Ask {
                ask,
                within,
                hops,
                what,
            },
            &mut out,
        );
        let mut buffer = BytesMut::from(&out[..]);
        let frame = split(&mut buffer, out.len()).unwrap().unwrap();
        let FromService::Ask {
            what: Ask::Call(method, params),
            ..
        } = read(&frame).unwrap()
        else {
            panic!("another frame");
        };
        assert_eq!((method.as_str(), params.get()), ("a/b", r#"{"a": 1.50}"#));
        assert!(read::<FromService>(&frame.slice(1..)).is_err());
        assert!(read::<ToService>(&frame).is_err());
    }
}

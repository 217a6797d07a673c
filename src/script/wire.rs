//! The frames between the daemon and its script hosts: a length, a kind, fields; bytes as they are.
//!
//! Both ends are the same binary, so there are no versions. What a host sends is still read with
//! care: an interpreter that was broken into must not get further than its own call.

mod fields;

use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use self::fields::{Reader, Writer, broken};
use crate::call::{CallId, HttpParts};

/// The length field in front of each frame: 4 bytes, little endian, counts what follows it.
const HEADER: usize = 4;

/// What the daemon tells a host.
#[derive(Debug)]
pub enum ToHost {
    /// The first frame: the budgets of every call.
    Budgets(Budgets),
    /// A script that calls may name from now on.
    Script(Script),
    /// Run a script.
    Call(Box<Work>),
    /// Give back the calls that are not started.
    Recall,
    /// The caller of this call has gone away.
    Cancel(u64),
    /// What a script asked for.
    Answer(Answer),
}

/// What a host tells the daemon.
#[derive(Debug)]
pub enum FromHost {
    /// The sandbox is closed and the interpreters are there.
    Ready,
    /// A call is over.
    Done(u64, Box<Finished>),
    /// The running script waits for something.
    Ask(u64, Ask),
    /// The calls that a recall found not started.
    Returned(Vec<u64>),
}

/// The budgets of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// CPU time in microseconds.
    pub time_us: u64,
    /// Bytes that the interpreter may hold.
    pub memory: u64,
}

/// The text of a script.
#[derive(Clone, Debug)]
pub struct Script {
    /// How calls name it.
    pub number: u32,
    /// Below the scripts' directory, beginning with `/`, ending in `.js` or `.lua`.
    pub path: String,
    /// The text.
    pub source: Bytes,
}

/// One call of a script.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Names the call between daemon and host.
    pub id: u64,
    /// The script's number.
    pub script: u32,
    /// What `params` are.
    pub form: WireForm,
    /// The params as they came.
    pub params: Bytes,
    /// The call's id as callers and logs know it.
    pub call_id: CallId,
    /// The method that was called.
    pub method: Arc<str>,
    /// The caller's name.
    pub caller: Arc<str>,
    /// The account that scripts are told.
    pub account: Arc<str>,
    /// What came with the params over HTTP.
    pub http: Option<Arc<HttpParts>>,
}

impl Work {
    /// Bytes of what it brings along.
    pub fn weight(&self) -> usize {
        let uploads = self.http.as_ref().map_or(0, |http| {
            let parts = [&http.raw_body, &http.files];
            parts.into_iter().flatten().map(Bytes::len).sum()
        });
        self.params.len() + uploads
    }
}

/// The settled form of params.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireForm {
    /// JSON text.
    #[default]
    Json,
    /// A string.
    Text,
    /// Bytes.
    Binary,
}

/// What a script waits for.
#[derive(Debug)]
pub enum Ask {
    /// `callway.call`: a method and params as JSON text.
    Call(String, Bytes),
    /// `callway.publish` and `publish`: a channel, a payload as JSON text, and whether a string
    /// stands for its bare text.
    Publish(String, Bytes, bool),
    /// `http.request`: its argument as JSON text.
    Http(Bytes),
    /// What the surface has beside these: its name, and its arguments as JSON text.
    Service(String, Bytes),
    /// `require`: the path as written, and the path of the script that wrote it.
    Module(String, String),
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Answer {
    /// JSON text, or nothing for `undefined`.
    Value(Bytes),
    /// A module's script.
    Module(Script),
    /// What the script gets thrown.
    Fault(Thrown),
}

/// An error that the daemon makes a script throw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as in `call::Fault`
pub struct Thrown {
    pub kind: String,
    pub message: String,
    /// JSON text; may be empty.
    pub data: Bytes,
}

/// How a call ended in the host.
#[derive(Debug)]
pub struct Finished {
    /// What came of it.
    pub end: End,
    /// `console` lines: a JSON array; empty for none.
    pub log: Bytes,
    /// What `response` built.
    pub response: Option<Response>,
}

/// What came of a script.
#[derive(Debug)]
pub enum End {
    /// The result as JSON text.
    Value(Bytes),
    /// It threw, or could not be compiled.
    Threw(Problem),
    /// A budget ran out: which.
    Limit(String),
    /// It was stopped because its caller went away.
    Cancelled,
}

/// Where and why a script failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it said.
    pub message: String,
    /// The script, if known.
    pub file: String,
    /// Counted from 1; 0 if unknown.
    pub line: u32,
    /// Counted from 1; 0 if unknown.
    pub column: u32,
    /// The stack as the interpreter shows it; may be empty.
    pub stack: String,
}

/// An HTTP response that a script built.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // as in `call::ScriptResponse`
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// Splits the next whole frame off; `None` until it is all there.
///
/// Fails for a frame above `max`, which only a broken peer sends.
pub fn split(buffer: &mut BytesMut, max: usize) -> io::Result<Option<Bytes>> {
    let Some(header) = buffer.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*header) as usize;
    if length > max {
        return Err(io::Error::new(ErrorKind::InvalidData, "frame too long"));
    }
    if buffer.len() < HEADER + length {
        buffer.reserve(HEADER + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEADER);
    Ok(Some(buffer.split_to(length).freeze()))
}

impl ToHost {
    /// Appends a [`ToHost::Call`] that stays with its owner.
    pub fn write_call(work: &Work, out: &mut Vec<u8>) {
        let mut w = Writer::start(out);
        w.u8(2).work(work).finish();
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut w = Writer::start(out);
        match self {
            ToHost::Budgets(budgets) => w.u8(0).u64(budgets.time_us).u64(budgets.memory),
            ToHost::Script(script) => w.u8(1).script(script),
            ToHost::Call(work) => w.u8(2).work(work),
            ToHost::Recall => w.u8(3),
            ToHost::Cancel(id) => w.u8(4).u64(*id),
            ToHost::Answer(Answer::Value(json)) => w.u8(5).bytes(json),
            ToHost::Answer(Answer::Module(script)) => w.u8(6).script(script),
            ToHost::Answer(Answer::Fault(fault)) => w
                .u8(7)
                .text(&fault.kind)
                .text(&fault.message)
                .bytes(&fault.data),
        };
        w.finish();
    }

    /// Reads a frame.
    pub fn read(frame: Bytes) -> io::Result<ToHost> {
        let mut r = Reader(frame);
        Ok(match r.u8()? {
            0 => ToHost::Budgets(Budgets {
                time_us: r.u64()?,
                memory: r.u64()?,
            }),
            1 => ToHost::Script(r.script()?),
            2 => ToHost::Call(Box::new(r.work()?)),
            3 => ToHost::Recall,
            4 => ToHost::Cancel(r.u64()?),
            5 => ToHost::Answer(Answer::Value(r.bytes()?)),
            6 => ToHost::Answer(Answer::Module(r.script()?)),
            7 => ToHost::Answer(Answer::Fault(Thrown {
                kind: r.text()?,
                message: r.text()?,
                data: r.bytes()?,
            })),
            _ => return Err(broken()),
        })
    }
}

impl FromHost {
    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut w = Writer::start(out);
        match self {
            FromHost::Ready => w.u8(0),
            FromHost::Done(id, finished) => w.u8(1).u64(*id).finished(finished),
            FromHost::Ask(id, Ask::Call(method, params)) => {
                w.u8(2).u64(*id).text(method).bytes(params)
            }
            FromHost::Ask(id, Ask::Http(request)) => w.u8(3).u64(*id).bytes(request),
            FromHost::Ask(id, Ask::Module(path, from)) => w.u8(4).u64(*id).text(path).text(from),
            FromHost::Ask(id, Ask::Publish(channel, payload, bare)) => w
                .u8(6)
                .u64(*id)
                .text(channel)
                .bytes(payload)
                .u8(u8::from(*bare)),
            FromHost::Ask(id, Ask::Service(name, arguments)) => {
                w.u8(7).u64(*id).text(name).bytes(arguments)
            }
            FromHost::Returned(ids) => {
                w.u8(5).u32(ids.len() as u32);
                for id in ids {
                    w.u64(*id);
                }
                &mut w
            }
        };
        w.finish();
    }

    /// Reads a frame.
    pub fn read(frame: Bytes) -> io::Result<FromHost> {
        let mut r = Reader(frame);
        Ok(match r.u8()? {
            0 => FromHost::Ready,
            1 => FromHost::Done(r.u64()?, Box::new(r.finished()?)),
            2 => FromHost::Ask(r.u64()?, Ask::Call(r.text()?, r.bytes()?)),
            3 => FromHost::Ask(r.u64()?, Ask::Http(r.bytes()?)),
            4 => FromHost::Ask(r.u64()?, Ask::Module(r.text()?, r.text()?)),
            5 => {
                let count = r.u32()?;
                FromHost::Returned((0..count).map(|_| r.u64()).collect::<io::Result<_>>()?)
            }
            6 => FromHost::Ask(r.u64()?, Ask::Publish(r.text()?, r.bytes()?, r.u8()? == 1)),
            7 => FromHost::Ask(r.u64()?, Ask::Service(r.text()?, r.bytes()?)),
            _ => return Err(broken()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut out = Vec::new();
        write(&mut out);
        let mut buffer = BytesMut::from(&out[..]);
        let frame = split(&mut buffer, out.len()).unwrap().unwrap();
        assert!(buffer.is_empty());
        frame
    }

    #[test]
    fn a_cut_or_foreign_frame_is_refused() {
        let whole = frame(|out| ToHost::Call(Box::default()).write(out));
        for length in 0..whole.len() {
            assert!(ToHost::read(whole.slice(..length)).is_err(), "{length}");
        }
        assert!(FromHost::read(Bytes::from_static(&[9])).is_err());
        // A count that the frame cannot hold costs nothing.
        let many = [&[5u8][..], &u32::MAX.to_le_bytes()].concat();
        assert!(FromHost::read(many.into()).is_err());
        let mut long = BytesMut::from(&100u32.to_le_bytes()[..]);
        assert!(split(&mut long, 99).is_err());
    }

    #[test]
    fn a_call_arrives_as_it_was_sent() {
        let work = Work {
            id: 7,
            script: 3,
            form: WireForm::Text,
            params: "Füße".into(),
            call_id: CallId::new(),
            method: "a/b".into(),
            caller: "ada".into(),
            account: "acme".into(),
            http: Some(Arc::new(HttpParts {
                verb: "PUT".into(),
                path: "/b".into(),
                query: "c=1".into(),
                headers: vec![("accept".into(), "*/*".into())],
                raw_body: Some("x".into()),
                files: Some("{}".into()),
            })),
        };
        let frame = frame(|out| ToHost::Call(Box::new(work.clone())).write(out));
        let ToHost::Call(read) = ToHost::read(frame).unwrap() else {
            panic!("another frame");
        };
        assert_eq!(format!("{read:?}"), format!("{work:?}"));
    }
}

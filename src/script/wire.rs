//! The frames between the daemon and its script hosts: a length, a kind, fields; bytes as they are.
//!
//! Both ends are the same binary, so there are no versions. What a host sends is still read with
//! care: an interpreter that was broken into must not get further than its own call.

use std::io::{self, ErrorKind};

use bytes::{Buf as _, Bytes, BytesMut};

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
    pub call_id: String,
    /// The method that was called.
    pub method: String,
    /// The caller's name.
    pub caller: String,
    /// What came with the params over HTTP.
    pub http: Option<HttpWork>,
}

/// The parts of an HTTP request.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // as in `call::HttpParts`
pub struct HttpWork {
    pub verb: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub raw_body: Option<Bytes>,
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
    /// `http.request`: its argument as JSON text.
    Http(Bytes),
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
            _ => return Err(broken()),
        })
    }
}

fn broken() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "not a frame")
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    fn start(out: &'a mut Vec<u8>) -> Writer<'a> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        Writer { out, start }
    }

    fn finish(&mut self) {
        let length = (self.out.len() - self.start - HEADER) as u32;
        self.out[self.start..self.start + HEADER].copy_from_slice(&length.to_le_bytes());
    }

    fn u8(&mut self, value: u8) -> &mut Self {
        self.out.push(value);
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32);
        self.out.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn pairs(&mut self, pairs: &[(String, String)]) -> &mut Self {
        self.u32(pairs.len() as u32);
        for (name, value) in pairs {
            self.text(name).text(value);
        }
        self
    }

    fn script(&mut self, script: &Script) -> &mut Self {
        self.u32(script.number)
            .text(&script.path)
            .bytes(&script.source)
    }

    fn work(&mut self, work: &Work) -> &mut Self {
        self.u64(work.id)
            .u32(work.script)
            .u8(work.form as u8)
            .bytes(&work.params)
            .text(&work.call_id)
            .text(&work.method)
            .text(&work.caller);
        let Some(http) = &work.http else {
            return self.u8(0);
        };
        self.u8(1)
            .text(&http.verb)
            .text(&http.path)
            .text(&http.query)
            .pairs(&http.headers);
        match &http.raw_body {
            None => self.u8(0),
            Some(body) => self.u8(1).bytes(body),
        }
    }

    fn finished(&mut self, finished: &Finished) -> &mut Self {
        match &finished.end {
            End::Value(json) => self.u8(0).bytes(json),
            End::Threw(problem) => self
                .u8(1)
                .text(&problem.message)
                .text(&problem.file)
                .u32(problem.line)
                .u32(problem.column)
                .text(&problem.stack),
            End::Limit(which) => self.u8(2).text(which),
            End::Cancelled => self.u8(3),
        };
        self.bytes(&finished.log);
        match &finished.response {
            None => self.u8(0),
            Some(response) => self
                .u8(1)
                .u32(u32::from(response.status))
                .pairs(&response.headers)
                .bytes(&response.body),
        }
    }
}

struct Reader(Bytes);

impl Reader {
    fn take(&mut self, count: usize) -> io::Result<Bytes> {
        if self.0.len() < count {
            return Err(broken());
        }
        Ok(self.0.split_to(count))
    }

    fn u8(&mut self) -> io::Result<u8> {
        self.0.try_get_u8().map_err(|_| broken())
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.0.try_get_u32_le().map_err(|_| broken())
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.0.try_get_u64_le().map_err(|_| broken())
    }

    fn bytes(&mut self) -> io::Result<Bytes> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn text(&mut self) -> io::Result<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| broken())
    }

    fn pairs(&mut self) -> io::Result<Vec<(String, String)>> {
        let count = self.u32()?;
        (0..count)
            .map(|_| Ok((self.text()?, self.text()?)))
            .collect()
    }

    fn script(&mut self) -> io::Result<Script> {
        Ok(Script {
            number: self.u32()?,
            path: self.text()?,
            source: self.bytes()?,
        })
    }

    fn work(&mut self) -> io::Result<Work> {
        let mut work = Work {
            id: self.u64()?,
            script: self.u32()?,
            form: match self.u8()? {
                0 => WireForm::Json,
                1 => WireForm::Text,
                _ => WireForm::Binary,
            },
            params: self.bytes()?,
            call_id: self.text()?,
            method: self.text()?,
            caller: self.text()?,
            http: None,
        };
        if self.u8()? == 1 {
            work.http = Some(HttpWork {
                verb: self.text()?,
                path: self.text()?,
                query: self.text()?,
                headers: self.pairs()?,
                raw_body: match self.u8()? {
                    0 => None,
                    _ => Some(self.bytes()?),
                },
            });
        }
        Ok(work)
    }

    fn finished(&mut self) -> io::Result<Finished> {
        let end = match self.u8()? {
            0 => End::Value(self.bytes()?),
            1 => End::Threw(Problem {
                message: self.text()?,
                file: self.text()?,
                line: self.u32()?,
                column: self.u32()?,
                stack: self.text()?,
            }),
            2 => End::Limit(self.text()?),
            3 => End::Cancelled,
            _ => return Err(broken()),
        };
        let log = self.bytes()?;
        let response = match self.u8()? {
            0 => None,
            _ => Some(Response {
                status: u16::try_from(self.u32()?).map_err(|_| broken())?,
                headers: self.pairs()?,
                body: self.bytes()?,
            }),
        };
        Ok(Finished { end, log, response })
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
            method: "a/b".into(),
            http: Some(HttpWork {
                headers: vec![("accept".into(), "*/*".into())],
                raw_body: Some("x".into()),
                ..HttpWork::default()
            }),
            ..Work::default()
        };
        let frame = frame(|out| ToHost::Call(Box::new(work.clone())).write(out));
        let ToHost::Call(read) = ToHost::read(frame).unwrap() else {
            panic!("another frame");
        };
        assert_eq!(format!("{read:?}"), format!("{work:?}"));
    }
}

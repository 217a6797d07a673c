//! The fields of frames: numbers little endian, bytes and texts with their length in front.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::{End, Finished, HEADER, Problem, Response, Script, WireForm, Work};
use crate::call::{CallId, HttpParts};

pub(super) fn broken() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "not a frame")
}

/// Appends one frame to a buffer.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn start(out: &'a mut Vec<u8>) -> Writer<'a> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        Writer { out, start }
    }

    pub(super) fn finish(&mut self) {
        let length = (self.out.len() - self.start - HEADER) as u32;
        self.out[self.start..self.start + HEADER].copy_from_slice(&length.to_le_bytes());
    }

    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.out.push(value);
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.out.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(bytes.len() as u32).raw(bytes)
    }

    /// Bytes whose number both ends know.
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn pairs(&mut self, pairs: &[(String, String)]) -> &mut Self {
        self.u32(pairs.len() as u32);
        for (name, value) in pairs {
            self.text(name).text(value);
        }
        self
    }

    pub(super) fn script(&mut self, script: &Script) -> &mut Self {
        self.u32(script.number)
            .text(&script.path)
            .bytes(&script.source)
    }

    pub(super) fn work(&mut self, work: &Work) -> &mut Self {
        self.u64(work.id)
            .u32(work.script)
            .u8(work.form as u8)
            .bytes(&work.params)
            .raw(work.call_id.bytes())
            .text(&work.method)
            .text(&work.caller)
            .text(&work.account);
        let Some(http) = &work.http else {
            return self.u8(0);
        };
        self.u8(1)
            .text(&http.verb)
            .text(&http.path)
            .text(&http.query)
            .pairs(&http.headers);
        self.some(http.raw_body.as_ref()).some(http.files.as_ref())
    }

    fn some(&mut self, bytes: Option<&Bytes>) -> &mut Self {
        match bytes {
            None => self.u8(0),
            Some(bytes) => self.u8(1).bytes(bytes),
        }
    }

    pub(super) fn finished(&mut self, finished: &Finished) -> &mut Self {
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

/// Reads the fields of one frame in their order.
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn take(&mut self, count: usize) -> io::Result<Bytes> {
        if self.0.len() < count {
            return Err(broken());
        }
        Ok(self.0.split_to(count))
    }

    pub(super) fn u8(&mut self) -> io::Result<u8> {
        self.0.try_get_u8().map_err(|_| broken())
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        self.0.try_get_u32_le().map_err(|_| broken())
    }

    pub(super) fn u64(&mut self) -> io::Result<u64> {
        self.0.try_get_u64_le().map_err(|_| broken())
    }

    fn raw<const LENGTH: usize>(&mut self) -> io::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        bytes.copy_from_slice(&self.take(LENGTH)?);
        Ok(bytes)
    }

    pub(super) fn bytes(&mut self) -> io::Result<Bytes> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    /// As a `String` or an `Arc<str>`, made straight from the frame.
    pub(super) fn text<T: for<'a> From<&'a str>>(&mut self) -> io::Result<T> {
        let length = self.u32()? as usize;
        let bytes = self.0.get(..length).ok_or_else(broken)?;
        let text = std::str::from_utf8(bytes).map_err(|_| broken())?.into();
        self.0.advance(length);
        Ok(text)
    }

    pub(super) fn pairs(&mut self) -> io::Result<Vec<(String, String)>> {
        let count = self.u32()?;
        (0..count)
            .map(|_| Ok((self.text()?, self.text()?)))
            .collect()
    }

    pub(super) fn script(&mut self) -> io::Result<Script> {
        Ok(Script {
            number: self.u32()?,
            path: self.text()?,
            source: self.bytes()?,
        })
    }

    pub(super) fn work(&mut self) -> io::Result<Work> {
        let mut work = Work {
            id: self.u64()?,
            script: self.u32()?,
            form: match self.u8()? {
                0 => WireForm::Json,
                1 => WireForm::Text,
                _ => WireForm::Binary,
            },
            params: self.bytes()?,
            call_id: CallId::from_bytes(self.raw()?),
            method: self.text()?,
            caller: self.text()?,
            account: self.text()?,
            http: None,
        };
        if self.u8()? == 1 {
            work.http = Some(Arc::new(HttpParts {
                verb: self.text()?,
                path: self.text()?,
                query: self.text()?,
                headers: self.pairs()?,
                raw_body: self.some()?,
                files: self.some()?,
            }));
        }
        Ok(work)
    }

    fn some(&mut self) -> io::Result<Option<Bytes>> {
        match self.u8()? {
            0 => Ok(None),
            _ => self.bytes().map(Some),
        }
    }

    pub(super) fn finished(&mut self) -> io::Result<Finished> {
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

//! A one-way call as it is kept in the spool, and among the dead letters.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::call::{Call, CallId, Deadline, Form, HttpParts, Payload, Via, parcel};

/// Everything but the params, which stand behind it. Never a token: the caller is kept by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Names the call everywhere.
    pub call_id: String,
    /// The method.
    pub method: Arc<str>,
    /// The name of the token that calls.
    pub caller: Arc<str>,
    /// Over which kind of transport it came.
    pub via: Via,
    /// How often the request had passed through callway.
    pub hops: u32,
    /// W3C Trace Context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Arc<str>>,
    /// What the params are.
    pub form: Form,
    /// What an HTTP caller sent beside them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<Http>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Http {
    verb: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    /// Base64.
    raw_body: Option<String>,
    /// JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<String>,
}

/// A call with the params of which the form was settled.
pub(super) fn write(call: &Call) -> Option<Bytes> {
    parcel::pack(&Header::of(call), call.params.bytes())
}

/// Header and params; `None` if it is no such record.
pub(super) fn read(record: &Bytes) -> Option<(Header, Bytes)> {
    parcel::unpack(record)
}

impl Header {
    /// What is kept of a call beside its params.
    pub(super) fn of(call: &Call) -> Header {
        Header {
            call_id: call.id.to_string(),
            method: call.method.clone(),
            caller: call.caller.token().name.clone(),
            via: call.via,
            hops: call.hops,
            traceparent: call.traceparent.clone(),
            form: call.params.form(),
            http: call.http.as_deref().map(Http::of),
        }
    }

    /// The id of the call.
    pub fn id(&self) -> Option<CallId> {
        CallId::parse(&self.call_id)
    }

    /// The call, to be carried out as `caller` until `deadline`.
    pub(super) fn call(&self, params: Bytes, caller: Caller, deadline: Deadline) -> Call {
        Call {
            id: self.id().unwrap_or_default(),
            method: self.method.clone(),
            params: Payload::kept(params, self.form),
            caller,
            via: self.via,
            deadline,
            hops: self.hops,
            traceparent: self.traceparent.clone(),
            key: None,
            http: self.http.as_ref().map(|http| Arc::new(http.parts())),
            progress: None,
        }
    }
}

impl Http {
    fn of(parts: &HttpParts) -> Http {
        Http {
            verb: parts.verb.clone(),
            path: parts.path.clone(),
            query: parts.query.clone(),
            headers: parts.headers.clone(),
            raw_body: parts.raw_body.as_ref().map(|body| BASE64.encode(body)),
            files: parts
                .files
                .as_ref()
                .map(|files| String::from_utf8_lossy(files).into_owned()),
        }
    }

    fn parts(&self) -> HttpParts {
        let body = self
            .raw_body
            .as_ref()
            .and_then(|body| BASE64.decode(body).ok());
        HttpParts {
            verb: self.verb.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            raw_body: body.map(Bytes::from),
            files: self.files.clone().map(Bytes::from),
        }
    }
}

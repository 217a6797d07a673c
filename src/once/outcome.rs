//! The outcomes that are kept under an idempotency key, as bytes and back.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::call::{
    CallId, Fault, Form, Kind, Outcome, Payload, Reply, ScriptReply, ScriptResponse, parcel,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Header {
    Reply {
        form: Form,
        #[serde(default)]
        script: Option<Script>,
        /// The id of a one-way call that was accepted.
        #[serde(default)]
        receipt: Option<String>,
    },
    Fault {
        kind: String,
        message: String,
        call_id: Option<String>,
        retry_after_ms: Option<u64>,
        has_data: bool,
    },
}

#[derive(Serialize, Deserialize)]
struct Script {
    log: Vec<Box<RawValue>>,
    response: Option<Response>,
}

/// The body stands behind the payload, so that the header stays text.
#[derive(Serialize, Deserialize)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    length: usize,
}

/// Whether a repeat gets this outcome: the method was carried out, or never can be with these
/// params. Anything else may go better the next time.
pub(super) fn is_final(outcome: &Outcome) -> bool {
    match outcome {
        Ok(_) => true,
        Err(fault) => matches!(
            fault.kind,
            Kind::TargetError | Kind::ScriptError | Kind::InvalidParams
        ),
    }
}

/// As bytes, to be kept.
pub(super) fn write(outcome: &Outcome) -> Option<Bytes> {
    match outcome {
        Ok(reply) => write_reply(reply),
        Err(fault) => {
            let header = Header::Fault {
                kind: fault.kind.as_str().to_owned(),
                message: fault.message.to_string(),
                call_id: fault.call_id.map(|id| id.to_string()),
                retry_after_ms: fault.retry_after.map(|after| after.as_millis() as u64),
                has_data: fault.data.is_some(),
            };
            parcel::pack(&header, fault.data.as_deref().unwrap_or_default())
        }
    }
}

fn write_reply(reply: &Reply) -> Option<Bytes> {
    let mut body = Cow::Borrowed(&reply.payload.bytes()[..]);
    let script = reply.script.as_ref().map(|script| Script {
        log: script.log.clone(),
        response: script.response.as_ref().map(|response| {
            body.to_mut().extend_from_slice(&response.body);
            Response {
                status: response.status,
                headers: response.headers.clone(),
                length: response.body.len(),
            }
        }),
    });
    let form = reply.payload.form();
    let receipt = reply.receipt.map(|id| id.to_string());
    let header = Header::Reply {
        form,
        script,
        receipt,
    };
    parcel::pack(&header, &body)
}

/// What was kept; `None` if it cannot be read.
pub(super) fn read(kept: Vec<u8>) -> Option<Outcome> {
    let (header, body) = parcel::unpack(&Bytes::from(kept))?;
    match header {
        Header::Reply {
            form,
            script,
            receipt,
        } => {
            let mut reply = read_reply(form, script, body)?;
            reply.receipt = receipt.as_deref().and_then(CallId::parse);
            Some(Ok(reply))
        }
        Header::Fault {
            kind,
            message,
            call_id,
            retry_after_ms,
            has_data,
        } => {
            let mut fault = Fault::new(Kind::from_name(&kind)?, message);
            fault.call_id = call_id.as_deref().and_then(CallId::parse);
            fault.retry_after = retry_after_ms.map(Duration::from_millis);
            fault.data = has_data.then_some(body);
            Some(Err(fault))
        }
    }
}

fn read_reply(form: Form, script: Option<Script>, mut payload: Bytes) -> Option<Reply> {
    let script = match script {
        None => None,
        Some(Script { log, response }) => {
            let response = match response {
                None => None,
                Some(response) => Some(ScriptResponse {
                    body: payload.split_off(payload.len().checked_sub(response.length)?),
                    status: response.status,
                    headers: response.headers,
                }),
            };
            Some(Box::new(ScriptReply { log, response }))
        }
    };
    let mut reply = Reply::new(Payload::kept(payload, form));
    reply.script = script;
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(outcome: &Outcome) -> Outcome {
        read(write(outcome).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_reply_comes_back_byte_for_byte() {
        let mut reply = Reply::new(Payload::binary(&b"\xff\x00"[..]));
        reply.script = Some(Box::new(ScriptReply {
            log: vec![RawValue::from_string("{\"a\":1}".into()).unwrap()],
            response: Some(ScriptResponse {
                status: 418,
                headers: vec![("x".into(), "y".into())],
                body: Bytes::from_static(b"tea"),
            }),
        }));
        let (before, after) = (reply.clone(), back(&Ok(reply)).unwrap());
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
        let plain = Reply::new(Payload::json("{ \"kept\" : 1.0 }"));
        let again = back(&Ok(plain.clone())).unwrap();
        assert_eq!(again.payload, plain.payload);
    }

    #[test]
    fn a_fault_comes_back_with_its_hints() {
        let mut fault = Fault::new(Kind::TargetError, "no").with_raw_data("[1]".into());
        fault.call_id = Some(CallId::new());
        let after = back(&Err(fault.clone())).unwrap_err();
        assert_eq!(after.to_json(), fault.to_json());
        assert!(is_final(&Err(fault)));
        assert!(!is_final(&Err(Fault::new(Kind::Timeout, "late"))));
    }
}

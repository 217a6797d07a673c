//! Faults in scriptr.io's words.

use crate::call::{Fault, Kind};

/// `statusCode`, `errorCode` and `errorDetail` of a failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status, also where no HTTP is spoken.
    pub status: u16,
    /// A word from scriptr.io's list, or the kind in capitals.
    pub code: String,
    /// The fault's message.
    pub detail: String,
}

impl Failure {
    /// How scriptr.io says this.
    pub fn of(fault: &Fault) -> Failure {
        let (status, code) = match fault.kind {
            Kind::MethodNotFound => (404, "INVALID_SCRIPT_NAME".into()),
            Kind::Forbidden => (403, "PERMISSION_DENIED".into()),
            // A refined status (405, 408, 415, …) says more than 400.
            Kind::InvalidRequest | Kind::InvalidParams => {
                (fault.status(), "INVALID_PARAMETER_VALUE".into())
            }
            Kind::ScriptError => (500, "SCRIPT_ERROR".into()),
            // Clients renew their token on exactly this pair.
            Kind::Unauthenticated => (400, "INVALID_TOKEN".into()),
            kind => (fault.status(), kind.as_str().to_ascii_uppercase()),
        };
        Failure {
            status,
            code,
            detail: fault.message.to_string(),
        }
    }

    /// How scriptr.io says this of a channel.
    pub fn of_channel(fault: &Fault, channel: &str) -> Failure {
        match fault.kind {
            Kind::MethodNotFound => Failure {
                status: 404,
                code: "CHANNEL_NOT_FOUND".into(),
                detail: format!("The channel [{channel}] does not exist."),
            },
            _ => Failure::of(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_words() {
        let said = |kind| {
            let failure = Failure::of(&Fault::new(kind, "why"));
            (failure.status, failure.code)
        };
        let fault = |kind| Fault::new(kind, "why");
        let missing = Failure::of_channel(&fault(Kind::MethodNotFound), "c");
        assert_eq!(
            (missing.status, missing.code.as_str()),
            (404, "CHANNEL_NOT_FOUND")
        );
        let forbidden = Failure::of_channel(&fault(Kind::Forbidden), "c");
        assert_eq!(forbidden.code, "PERMISSION_DENIED");
        for (kind, status, code) in [
            (Kind::ParseError, 400, "PARSE_ERROR"),
            (Kind::InvalidRequest, 400, "INVALID_PARAMETER_VALUE"),
            (Kind::InvalidParams, 400, "INVALID_PARAMETER_VALUE"),
            (Kind::MethodNotFound, 404, "INVALID_SCRIPT_NAME"),
            (Kind::Forbidden, 403, "PERMISSION_DENIED"),
            (Kind::Unauthenticated, 400, "INVALID_TOKEN"),
            (Kind::ScriptError, 500, "SCRIPT_ERROR"),
            (Kind::ScriptLimit, 500, "SCRIPT_LIMIT"),
            (Kind::Timeout, 504, "TIMEOUT"),
            (Kind::NoResponder, 503, "NO_RESPONDER"),
            (Kind::TargetError, 502, "TARGET_ERROR"),
            (Kind::TooLarge, 413, "TOO_LARGE"),
        ] {
            assert_eq!(said(kind), (status, code.to_owned()));
        }
    }
}

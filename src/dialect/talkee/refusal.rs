//! Refusals as Talkee words them: `{"code","msg"}`, with HTTP 200.

use serde::Serialize;

use crate::call::{Fault, Kind};

/// Why something is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    code: u16,
    msg: String,
}

impl Refusal {
    /// With the status that HTTP would have for it.
    pub fn new(code: u16, msg: impl Into<String>) -> Refusal {
        Refusal {
            code,
            msg: msg.into(),
        }
    }

    /// Nobody is logged in. Clients know this one by heart and log out.
    pub fn unauthorized() -> Refusal {
        Refusal::new(401, "unauthorized")
    }

    /// The body of a request cannot be read.
    pub fn malformed() -> Refusal {
        Refusal::new(400, "twirp error malformed: can't decode request body")
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        match fault.kind {
            Kind::Unauthenticated => Refusal::unauthorized(),
            _ => Refusal::new(fault.status(), fault.message),
        }
    }
}

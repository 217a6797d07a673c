//! Connected clients that offered to answer methods.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Target;
use crate::call::{Call, Fault, Kind, Outcome};
use crate::router::Captures;

/// Who offers what right now.
#[derive(Default)]
pub struct Workers {}

/// Takes calls to the least busy worker that offered the method.
pub struct WorkerTarget {
    _workers: Arc<Workers>,
}

impl WorkerTarget {
    /// Over the registry of workers.
    pub fn new(workers: Arc<Workers>) -> WorkerTarget {
        WorkerTarget { _workers: workers }
    }
}

impl Target for WorkerTarget {
    fn call<'a>(&'a self, _call: &'a Call, _captures: &'a Captures) -> BoxFuture<'a, Outcome> {
        async {
            Err(Fault::new(
                Kind::NoResponder,
                "no worker offers this method",
            ))
        }
        .boxed()
    }
}

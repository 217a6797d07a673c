//! Takes calls to connected clients that offered to answer methods.
//!
//! A call goes to the least busy worker of those whose pattern takes the method, the most specific
//! pattern first. One that says "not me" is followed by the next, within the same deadline.

mod registry;
mod seat;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use self::registry::NoWorker;
pub use self::registry::Workers;
pub use self::seat::{Mail, Seat};
use super::Target;
use crate::call::{Call, CallId, Deadline, Fault, Kind, Outcome, Payload, Progress, Reply};
use crate::router::Captures;

/// A call as it is put to a worker.
#[derive(Debug)]
pub struct Ask {
    /// The method that was called.
    pub method: Arc<str>,
    /// What it is called with.
    pub params: Payload,
    /// When nobody waits for the answer any more.
    pub deadline: Deadline,
    /// Names the call in logs on both sides.
    pub call_id: CallId,
    /// How often it has passed through callway already.
    pub hops: u32,
    /// Where interim news go.
    progress: Option<Progress>,
    reply: oneshot::Sender<WorkerAnswer>,
}

impl Ask {
    /// The question of a call, and where its answer will arrive.
    pub(crate) fn of(call: &Call) -> (Ask, oneshot::Receiver<WorkerAnswer>) {
        let (reply, answer) = oneshot::channel();
        let ask = Ask {
            method: call.method.clone(),
            params: call.params.clone(),
            deadline: call.deadline,
            call_id: call.id,
            hops: call.hops,
            progress: call.progress.clone(),
            reply,
        };
        (ask, answer)
    }
}

/// What a worker says to a call that was put to it.
#[derive(Debug)]
pub enum WorkerAnswer {
    /// The result.
    Result(Payload),
    /// "Not me", because it does not take the method or is too busy: another worker may.
    Declined(Kind),
    /// An error; its JSON text is passed on.
    Error(Bytes),
}

/// The target of every route with `worker = {}`.
pub struct WorkerTarget {
    workers: Arc<Workers>,
    json_depth: usize,
}

impl WorkerTarget {
    /// Over the registry of workers. Results may be nested `json_depth` levels deep.
    pub fn new(workers: Arc<Workers>, json_depth: usize) -> WorkerTarget {
        WorkerTarget {
            workers,
            json_depth,
        }
    }

    async fn ask_around(&self, call: &Call) -> Outcome {
        let mut asked = Vec::new();
        let mut some_were_busy = false;
        loop {
            let mut place = match self.workers.take(&call.method, &asked) {
                Ok(place) => place,
                Err(NoWorker { all_busy }) => return Err(nobody(all_busy || some_were_busy)),
            };
            asked.push(place.worker());
            let (ask, answer) = Ask::of(call);
            if !place.put(ask) {
                some_were_busy = true;
                continue;
            }
            let answer = answer.await;
            place.answered();
            match answer {
                Ok(WorkerAnswer::Result(payload)) => return self.result(payload),
                Ok(WorkerAnswer::Error(error)) => return Err(target_error(error)),
                Ok(WorkerAnswer::Declined(why)) => some_were_busy |= why == Kind::Overloaded,
                Err(_lost) => return Err(lost()),
            }
        }
    }

    fn result(&self, mut payload: Payload) -> Outcome {
        match payload.check(self.json_depth) {
            Ok(()) => Ok(Reply::new(payload)),
            Err(_defect) => Err(Fault::new(
                Kind::TargetError,
                "the worker's result is no JSON that could be passed on",
            )),
        }
    }
}

impl Target for WorkerTarget {
    fn call<'a>(&'a self, call: &'a Call, _captures: &'a Captures) -> BoxFuture<'a, Outcome> {
        self.ask_around(call).boxed()
    }
}

fn nobody(some_were_busy: bool) -> Fault {
    if some_were_busy {
        Fault::new(
            Kind::Overloaded,
            "every worker of this method is busy, try again soon",
        )
        .with_retry_after(Duration::from_secs(1))
    } else {
        Fault::new(
            Kind::NoResponder,
            "no worker that is connected answers this method",
        )
    }
}

/// The worker went away with the call in its hands: whether it was carried out, nobody knows.
fn lost() -> Fault {
    Fault::unavailable("worker_lost", "the worker that had this call went away").handed_over()
}

fn target_error(error: Bytes) -> Fault {
    Fault::new(Kind::TargetError, "the worker answered with an error").with_raw_data(error)
}

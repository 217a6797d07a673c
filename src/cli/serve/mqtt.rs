//! A worker on the MQTT listener.

use std::collections::HashMap;

use serde_json::json;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::call::{Fault, Payload};
use crate::cli::exec::{Failed, Job};
use crate::client::{Asked, Work};

/// One connection. Dropping it kills the programs that run for it.
pub(super) struct Session<'a> {
    worker: &'a Worker,
    work: Work,
    runs: JoinSet<Option<Result<Payload, Failed>>>,
    asked: HashMap<Id, Asked>,
}

impl<'a> Session<'a> {
    pub(super) fn new(worker: &'a Worker, work: Work) -> Session<'a> {
        Session {
            worker,
            work,
            runs: JoinSet::new(),
            asked: HashMap::new(),
        }
    }

    /// Answers calls until told to stop (`Ok`) or until the connection is lost.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<(), Fault> {
        loop {
            tokio::select! {
                asked = self.work.next() => self.start(asked?)?,
                Some(ended) = self.runs.join_next_with_id() => self.answer(ended)?,
                () = stop.cancelled() => {
                    self.work.close().await;
                    return Ok(());
                }
            }
        }
    }

    fn start(&mut self, asked: Asked) -> Result<(), Fault> {
        if self.runs.len() >= self.worker.concurrency as usize {
            let why = json!({ "message": "all places are taken" });
            return self.work.error(&asked, "overloaded", &why);
        }
        let job = Job {
            method: asked.method.clone(),
            call_id: asked.call_id.clone(),
            params: asked.params.clone(),
            timeout: asked.left,
        };
        let program = self.worker.program.clone();
        let run = self.runs.spawn(async move { program.run(job).await });
        self.asked.insert(run.id(), asked);
        Ok(())
    }

    fn answer(
        &mut self,
        ended: Result<(Id, Option<Result<Payload, Failed>>), JoinError>,
    ) -> Result<(), Fault> {
        let run = match &ended {
            Ok((run, _)) => *run,
            Err(error) => error.id(),
        };
        let Some(asked) = self.asked.remove(&run) else {
            return Ok(());
        };
        let answered = match ended {
            Ok((_, Some(Ok(result)))) => self.work.result(&asked, &result),
            Ok((_, Some(Err(failed)))) => {
                let data = json!({ "exit_status": failed.status });
                let why = json!({ "message": failed.message, "data": data });
                self.work.error(&asked, "failed", &why)
            }
            // callway has answered `timeout` itself.
            Ok((_, None)) => Ok(()),
            Err(_panic) => {
                let why = json!({ "message": "a defect of callway serve" });
                self.work.error(&asked, "internal", &why)
            }
        };
        match answered {
            Err(fault) if fault.kind == crate::call::Kind::TooLarge => {
                let why = json!({ "message": fault.message });
                self.work.error(&asked, "failed", &why)
            }
            answered => answered,
        }
    }
}

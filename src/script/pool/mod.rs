//! The daemon's side of scripts: a pool of host processes and the calls that wait for them.

mod drive;
mod floor;
pub(super) mod host;
pub(super) mod launch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{Notify, oneshot};

use self::floor::{Event, Floor, Job};
use super::acl::Anonymous;
use super::fetch::Fetcher;
use super::library::Library;
use super::reach::Reach;
use super::surface::Asking;
use super::wire::{Answer, Ask, Budgets, End, Finished, Thrown, ToHost, WireForm, Work};
use crate::call::{
    Call, CallId, Fault, Form, Kind, Outcome, Payload, Reply, ScriptReply, ScriptResponse, Via,
    scan,
};
use crate::channel::{Kept, Origin, Publish};
use crate::config::Config;
use crate::context::Context;

/// Calls that wait for a host; more are refused with `overloaded`.
const MAX_QUEUE: usize = 10_000;

/// Runs scripts in host processes.
pub struct Pool {
    context: Context,
    library: Library,
    fetcher: Fetcher,
    budgets: Budgets,
    /// What scripts are told as their account.
    account: Arc<str>,
    /// Who is not authenticated.
    anonymous: Anonymous,
    floor: Mutex<Floor>,
    /// Wakes the sweeper: there is something to watch over.
    busy: Notify,
}

impl Pool {
    /// Starts the first hosts, one for each core; nobody waits for them.
    pub fn start(context: &Context) -> Result<Arc<Pool>, Fault> {
        let limits = &context.config.limits;
        let scripts = &context.config.scripts;
        let pool = Arc::new(Pool {
            library: Library::new(&scripts.directory),
            fetcher: Fetcher::new(
                Reach::new(&scripts.allow_urls, "scripts.allow_urls"),
                limits,
            )?,
            budgets: Budgets {
                time_us: limits.script_time.as_micros() as u64,
                memory: limits.script_memory as u64,
            },
            account: account(&context.config),
            anonymous: Anonymous::of(&context.config),
            floor: Mutex::new(Floor {
                cores: std::thread::available_parallelism().map_or(2, usize::from),
                ..Floor::default()
            }),
            busy: Notify::new(),
            context: context.clone(),
        });
        pool.refill(&mut pool.floor.lock());
        context.background.spawn(drive::sweep(pool.clone()));
        Ok(pool)
    }

    fn script_time(&self) -> Duration {
        Duration::from_micros(self.budgets.time_us)
    }

    /// Runs a script for a call. Dropping the future stops the script.
    pub async fn run(self: &Arc<Self>, call: &Call, path: &str) -> Outcome {
        let (script, acl) = self
            .library
            .with_acl(path)
            .await
            .map_err(|missing| Fault::new(Kind::MethodNotFound, missing))?;
        if !acl.permits(call.caller.name(), &self.anonymous) {
            let message = "the ACL in the script's .metadata file does not name this caller";
            return Err(Fault::new(Kind::Forbidden, message));
        }
        let (sender, mut events) = oneshot::channel();
        let mut ticket = self.submit(Job::new(script.clone(), self.work(call), sender))?;
        let mut asked = 0;
        loop {
            match events.await {
                Ok(Event::Done(finished)) => {
                    ticket.over = true;
                    return self.outcome(call, finished);
                }
                Ok(Event::Ask(ask, next)) => {
                    events = next;
                    // In memory of its own: most scripts ask for nothing.
                    let answer = Box::pin(self.answer(call, &script.path, ask, &mut asked));
                    let answer = answer.await?;
                    ticket.answer(answer);
                }
                Ok(Event::Lost(fault)) => {
                    ticket.over = true;
                    return Err(fault);
                }
                Err(_closed) => {
                    ticket.over = true;
                    return Err(Fault::new(
                        Kind::ShuttingDown,
                        "the script hosts are ending",
                    ));
                }
            }
        }
    }

    fn submit(self: &Arc<Self>, mut job: Job) -> Result<Ticket, Fault> {
        let mut floor = self.floor.lock();
        if floor.queue.len() >= MAX_QUEUE {
            self.context.metrics.limit_reached("script_queue");
            return Err(Fault::new(
                Kind::Overloaded,
                "too many scripts wait for a host, try again soon",
            )
            .with_retry_after(Duration::from_secs(1)));
        }
        floor.last_job += 1;
        job.work.id = floor.last_job;
        let ticket = Ticket {
            pool: self.clone(),
            id: job.work.id,
            over: false,
        };
        let calm = floor.is_calm();
        floor.queue.push_back(job);
        floor.dispatch();
        if !floor.queue.is_empty() {
            self.refill(&mut floor);
        }
        drop(floor);
        if calm {
            self.busy.notify_one();
        }
        Ok(ticket)
    }

    /// Does what a script asked for. An error ends the script, a fault is thrown to it.
    async fn answer(
        &self,
        call: &Call,
        script: &str,
        ask: Ask,
        asked: &mut u32,
    ) -> Result<Answer, Fault> {
        if !matches!(ask, Ask::Module(..)) {
            *asked += 1;
            let limit = self.context.config.limits.script_calls;
            if *asked > limit {
                self.context.metrics.limit_reached("script_calls");
                return Err(Fault::new(
                    Kind::ScriptLimit,
                    format!("calls: the script made more than {limit}; see limits.script_calls"),
                ));
            }
        }
        let answer = match ask {
            Ask::Call(method, params) => {
                let call = Call {
                    id: CallId::new(),
                    method: method.into(),
                    params: Payload::unchecked_json(params),
                    caller: call.caller.clone(),
                    via: Via::Script,
                    deadline: call.deadline,
                    hops: call.hops.saturating_add(1),
                    traceparent: call.traceparent.clone(),
                    key: None,
                    http: None,
                    progress: None,
                };
                let reply = self.context.dispatcher.call(call).await;
                reply.map(|reply| Answer::Value(reply.payload.to_json_bytes()))
            }
            Ask::Publish(channel, payload, bare) => {
                let kept = self.publish(call, channel, payload, bare).await;
                kept.map(|kept| Answer::Value(kept.to_json().into()))
            }
            Ask::Http(options) => {
                let fetched = self.fetcher.fetch(&options, call.deadline).await;
                fetched.map(Answer::Value)
            }
            Ask::Service(name, arguments) => {
                let asking = Asking {
                    context: &self.context,
                    call,
                    script,
                    anonymous: &self.anonymous,
                };
                asking.serve(&name, &arguments).await.map(Answer::Value)
            }
            Ask::Module(path, from) => match self.library.module(&path, &from).await {
                Ok(script) => Ok(Answer::Module((*script).clone())),
                Err(missing) => Err(Fault::new(Kind::ScriptError, missing)),
            },
        };
        Ok(answer.unwrap_or_else(|fault| {
            Answer::Fault(Thrown {
                kind: fault.kind.as_str().to_owned(),
                message: fault.message.into_owned(),
                data: fault.data.unwrap_or_default(),
            })
        }))
    }

    /// Publishes as the script's caller, and waits until the event is kept.
    async fn publish(
        &self,
        call: &Call,
        channel: String,
        payload: Bytes,
        bare: bool,
    ) -> Result<Kept, Fault> {
        let mut payload = match bare {
            true => Payload::from_message(payload),
            false => Payload::unchecked_json(payload),
        };
        if !bare {
            payload.check(self.context.config.limits.json_depth)?;
        }
        let receipt = self.context.hub.publish(Publish {
            channel: channel.into(),
            payload,
            origin: Origin::Client {
                caller: call.caller.clone(),
                via: Via::Script,
            },
            id: None,
            hops: call.hops.saturating_add(1),
            traceparent: call.traceparent.clone(),
            retained: false,
        })?;
        receipt.kept().await
    }

    fn outcome(&self, call: &Call, finished: Finished) -> Outcome {
        let log = self.log(call, &finished.log);
        let json = match finished.end {
            End::Value(json) => json,
            End::Threw(problem) => {
                let mut data = json!({ "message": problem.message });
                let mut message = problem.message;
                if !problem.file.is_empty() {
                    data["file"] = json!(problem.file);
                    if problem.line > 0 {
                        data["line"] = json!(problem.line);
                        message = format!("{message} ({}:{})", problem.file, problem.line);
                    } else {
                        message = format!("{message} ({})", problem.file);
                    }
                }
                if !problem.stack.is_empty() {
                    data["stack"] = json!(problem.stack);
                }
                return Err(Fault::new(Kind::ScriptError, message).with_data(&data));
            }
            End::Limit(which) => {
                self.context.metrics.limit_reached("script");
                return Err(Fault::new(Kind::ScriptLimit, which));
            }
            // Its caller is still there, so it was the daemon that told it to stop.
            End::Cancelled => {
                self.context.metrics.limit_reached("script");
                return Err(Fault::new(
                    Kind::ScriptLimit,
                    format!(
                        "time: the script was to use {:?} of CPU time and was not done long after; \
                         see limits.script_time",
                        self.script_time()
                    ),
                ));
            }
        };
        let limits = &self.context.config.limits;
        if json.len() > limits.message {
            let (has, may) = (json.len(), limits.message);
            return Err(Fault::new(
                Kind::TooLarge,
                format!("the script's result has {has} bytes, limits.message allows {may}"),
            ));
        }
        let mut payload = Payload::unchecked_json(json);
        payload.check(limits.json_depth).map_err(|fault| {
            let message = format!(
                "the script's result is not fit to travel: {}",
                fault.message
            );
            Fault::new(Kind::ScriptError, message)
        })?;
        let response = finished.response.map(|response| ScriptResponse {
            status: response.status,
            headers: response.headers,
            body: response.body,
        });
        let mut reply = Reply::new(payload);
        if !log.is_empty() || response.is_some() {
            reply.script = Some(Box::new(ScriptReply { log, response }));
        }
        Ok(reply)
    }

    /// What of a call a script sees.
    fn work(&self, call: &Call) -> Work {
        Work {
            form: match call.params.form() {
                Form::Json => WireForm::Json,
                Form::Text => WireForm::Text,
                // The dispatcher leaves nothing unchecked; bytes are the safe reading.
                Form::Binary | Form::Unchecked | Form::UncheckedJson => WireForm::Binary,
            },
            params: call.params.bytes().clone(),
            call_id: call.id,
            method: call.method.clone(),
            caller: call.caller.token().name.clone(),
            account: self.account.clone(),
            http: call.http.clone(),
            ..Work::default()
        }
    }

    /// The lines of `console`, which the daemon's log shows as well at level debug.
    fn log(&self, call: &Call, lines: &Bytes) -> Vec<Box<RawValue>> {
        if lines.is_empty() || scan(lines, 8).is_err() {
            return Vec::new();
        }
        let lines: Vec<Box<RawValue>> = serde_json::from_slice(lines).unwrap_or_default();
        for line in &lines {
            tracing::debug!(call_id = %call.id, method = %call.method, line = line.get(), "script says");
        }
        lines
    }
}

/// A call's place in the pool; gives it back when the caller goes away.
struct Ticket {
    pool: Arc<Pool>,
    id: u64,
    over: bool,
}

impl Ticket {
    fn answer(&self, answer: Answer) {
        self.pool
            .floor
            .lock()
            .answer(self.id, &ToHost::Answer(answer));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.over {
            self.pool.floor.lock().cancel(self.id);
        }
    }
}

/// The account of scriptr's addresses, or the group of processes.
fn account(config: &Config) -> Arc<str> {
    let mut accounts = config
        .buses
        .iter()
        .filter_map(|bus| bus.common().scriptr.as_ref());
    match accounts.next() {
        Some(account) => account.to_string().into(),
        None => config.cluster.group.clone(),
    }
}

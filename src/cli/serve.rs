//! `callway serve`: a worker that answers a method with a local program, over WebSocket or the MQTT
//! listener.

mod mqtt;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::credential::{TokenArgs, load_trust};
use super::exec::{Failed, Job, Program};
use super::outcome::{exit_code, print_fault, worth_another_try};
use crate::auth::Secret;
use crate::call::{Fault, Kind, Payload};
use crate::client::{self, Address, Frame, Socket, Trust, Work};
use crate::link::Backoff;

/// How long connecting and being accepted may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Between pings; a server that shows no sign of life for two of them is lost.
const PING: Duration = Duration::from_secs(20);
/// The code of errors that the program itself is the cause of (JSON-RPC 2.0 §5.1 leaves it free).
const FAILED: i32 = -32000;

/// What `callway serve` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// The method, or a pattern such as vision/{path...}
    method: String,
    /// A command line for the shell: params as JSON on its standard input, its standard output is
    /// the result (JSON, or else a string); a non-zero exit is an error with what it wrote to
    /// standard error. CALLWAY_METHOD and CALLWAY_CALL_ID are set
    #[arg(long, value_name = "CMD")]
    exec: String,
    /// A jsonrpc endpoint, ws:// or wss://; or an mqtt endpoint, mqtt:// or mqtts://
    #[arg(long, value_name = "URL")]
    via: Address,
    /// How many calls are answered at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    concurrency: u32,
    /// The most bytes of a result
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    max_output: usize,
    /// Believe the certificate authorities in this PEM file instead of the system's
    #[arg(long, value_name = "PATH")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    token: TokenArgs,
}

impl ServeArgs {
    /// Serves until SIGTERM or SIGINT, and connects again whenever the connection is lost.
    pub async fn run(self) -> ExitCode {
        let worker = match Worker::new(self) {
            Ok(worker) => worker,
            Err(message) => {
                eprintln!("callway: {message}");
                return ExitCode::from(super::USAGE);
            }
        };
        let stop = CancellationToken::new();
        let signals = async {
            match (
                signal(SignalKind::terminate()),
                signal(SignalKind::interrupt()),
            ) {
                (Ok(mut terminate), Ok(mut interrupt)) => {
                    tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
                }
                _ => std::future::pending().await,
            }
            stop.cancel();
            std::future::pending().await
        };
        tokio::select! {
            code = worker.serve(&stop) => code,
            code = signals => code,
        }
    }
}

struct Worker {
    via: Address,
    token: Option<Secret>,
    trust: Trust,
    method: String,
    concurrency: u32,
    program: Program,
}

impl Worker {
    fn new(args: ServeArgs) -> Result<Worker, String> {
        if let Address::Http(_) | Address::Amqp(_) = args.via {
            return Err("a worker is connected by ws://, wss://, mqtt:// or mqtts://".into());
        }
        Ok(Worker {
            via: args.via,
            token: args.token.read()?,
            trust: load_trust(args.ca.as_deref())?,
            method: args.method,
            concurrency: args.concurrency,
            program: Program {
                command: args.exec,
                max_output: args.max_output,
            },
        })
    }

    async fn serve(&self, stop: &CancellationToken) -> ExitCode {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        while !stop.is_cancelled() {
            let fault = match self.offer().await {
                Ok(session) => {
                    eprintln!("callway: serving {}", self.method);
                    backoff.reset();
                    match session.run(stop).await {
                        Ok(()) => break,
                        Err(fault) => fault,
                    }
                }
                Err(fault) if worth_another_try(fault.kind) => fault,
                Err(fault) => {
                    print_fault(&fault, false);
                    return ExitCode::from(exit_code(fault.kind));
                }
            };
            let wait = backoff.next();
            eprintln!("callway: {fault}; connecting again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => {}
            }
        }
        ExitCode::SUCCESS
    }

    /// Connects and offers the method.
    async fn offer(&self) -> Result<Offered<'_>, Fault> {
        let offering = async {
            let token = self.token.as_ref();
            match &self.via {
                Address::Mqtt(address) => {
                    let method = &self.method;
                    let offered = Work::offer(address, token, &self.trust, method, HANDSHAKE);
                    Ok(Offered::Mqtt(mqtt::Session::new(self, offered.await?)))
                }
                Address::Ws(url) => self.offer_ws(url).await.map(Box::new).map(Offered::Ws),
                Address::Http(_) | Address::Amqp(_) => Err(Fault::new(
                    Kind::InvalidRequest,
                    "no worker is connected so",
                )),
            }
        };
        let offered = tokio::time::timeout(HANDSHAKE, offering).await;
        offered.unwrap_or_else(|_| {
            let why = "the server did not take the offer in time";
            Err(Fault::new(Kind::Timeout, why))
        })
    }

    async fn offer_ws(&self, url: &url::Url) -> Result<Session<'_>, Fault> {
        let mut socket = Socket::connect(url, self.token.as_ref(), &self.trust).await?;
        let params = json!({ "methods": [self.method], "concurrency": self.concurrency });
        let offer =
            json!({ "jsonrpc": "2.0", "id": 0, "method": "callway.serve", "params": params });
        socket.send(offer.to_string()).await?;
        loop {
            let Frame::Text(text) = socket.next().await? else {
                continue;
            };
            let message = Message::read(&text)?;
            if let Some(error) = message.error {
                return Err(client::from_jsonrpc(error.get()));
            }
            if message.method.is_none() && message.result.is_some() {
                break;
            }
        }
        Ok(Session {
            worker: self,
            socket,
            runs: JoinSet::new(),
            running: HashMap::new(),
            requests: HashMap::new(),
        })
    }
}

/// An offer that was taken.
enum Offered<'a> {
    Ws(Box<Session<'a>>),
    Mqtt(mqtt::Session<'a>),
}

impl Offered<'_> {
    async fn run(self, stop: &CancellationToken) -> Result<(), Fault> {
        match self {
            Offered::Ws(session) => session.run(stop).await,
            Offered::Mqtt(session) => session.run(stop).await,
        }
    }
}

/// A message of the server, as far as a worker looks at it.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    timeout: Option<String>,
    call_id: Option<String>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Message<'_> {
    fn read(text: &str) -> Result<Message<'_>, Fault> {
        serde_json::from_str(text)
            .map_err(|_| Fault::new(Kind::ParseError, "the server does not speak JSON-RPC there"))
    }
}

/// One connection. Dropping it kills the programs that run for it.
struct Session<'a> {
    worker: &'a Worker,
    socket: Socket,
    runs: JoinSet<Option<Result<Payload, Failed>>>,
    /// By the id of the request, as it is written.
    running: HashMap<String, AbortHandle>,
    requests: HashMap<Id, String>,
}

impl Session<'_> {
    /// Answers calls until told to stop (`Ok`) or until the connection is lost.
    async fn run(mut self, stop: &CancellationToken) -> Result<(), Fault> {
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                frame = self.socket.next() => {
                    heard = Instant::now();
                    if let Frame::Text(text) = frame? {
                        self.take(&text).await?;
                    }
                }
                Some(ended) = self.runs.join_next_with_id() => self.answer(ended).await?,
                _ = ping.tick() => {
                    if heard.elapsed() > 2 * PING {
                        return Err(Fault::new(Kind::Unavailable, "the server fell silent"));
                    }
                    self.socket.ping().await?;
                }
                () = stop.cancelled() => {
                    self.socket.close().await;
                    return Ok(());
                }
            }
        }
    }

    async fn take(&mut self, text: &str) -> Result<(), Fault> {
        let message = Message::read(text)?;
        match (message.method.as_deref(), message.id) {
            (Some("callway.cancel"), None) => {
                self.cancel(message.params);
                Ok(())
            }
            (Some(_), Some(id)) => {
                let id = id.get().to_owned();
                if self.runs.len() >= self.worker.concurrency as usize {
                    let error = json!({ "code": Kind::Overloaded.jsonrpc_code(), "message": "all places are taken" });
                    return self.respond(&id, "error", &error.to_string()).await;
                }
                self.start(id, message);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, id: String, message: Message) {
        let job = Job {
            method: message.method.unwrap_or_default(),
            call_id: message.call_id.unwrap_or_default(),
            params: message.params.map_or("null", RawValue::get).to_owned(),
            timeout: message
                .timeout
                .and_then(|text| crate::call::parse_duration(&text).ok()),
        };
        let program = self.worker.program.clone();
        let run = self.runs.spawn(async move { program.run(job).await });
        self.requests.insert(run.id(), id.clone());
        self.running.insert(id, run);
    }

    /// Nobody waits for this answer any more: ends the program.
    fn cancel(&mut self, params: Option<&RawValue>) {
        #[derive(Deserialize)]
        struct Cancel<'a> {
            #[serde(borrow)]
            id: &'a RawValue,
        }
        let cancel = params.and_then(|params| serde_json::from_str::<Cancel>(params.get()).ok());
        if let Some(run) = cancel.and_then(|cancel| self.running.remove(cancel.id.get())) {
            run.abort();
        }
    }

    async fn answer(
        &mut self,
        ended: Result<(Id, Option<Result<Payload, Failed>>), tokio::task::JoinError>,
    ) -> Result<(), Fault> {
        let run = match &ended {
            Ok((run, _)) => *run,
            Err(error) => error.id(),
        };
        let Some(id) = self.requests.remove(&run) else {
            return Ok(());
        };
        self.running.remove(&id);
        match ended {
            Ok((_, Some(Ok(result)))) => self.respond(&id, "result", &result.as_json()).await,
            Ok((_, Some(Err(failed)))) => {
                let data = json!({ "exit_status": failed.status });
                let error = json!({ "code": FAILED, "message": failed.message, "data": data });
                self.respond(&id, "error", &error.to_string()).await
            }
            // callway has answered `timeout` itself.
            Ok((_, None)) => Ok(()),
            Err(error) if error.is_cancelled() => Ok(()),
            Err(_panic) => {
                let error = json!({ "code": Kind::Internal.jsonrpc_code(), "message": "a defect of callway serve" });
                self.respond(&id, "error", &error.to_string()).await
            }
        }
    }

    async fn respond(&mut self, id: &str, member: &str, json: &str) -> Result<(), Fault> {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{json}}}"#);
        self.socket.send(text).await
    }
}

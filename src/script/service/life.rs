//! One life of a service: from the start of its process to its end, and all that it waits for.

mod ears;
mod process;

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep_until, timeout};

use self::ears::Ears;
use self::process::{Process, Watch};
use super::Ground;
use super::asks::{carry_out, event};
use super::keeper::Over;
use super::sockets::Sockets;
use super::tempo::Tempo;
use super::wire::{Ask, End, FromService, Happened, Outcome, ToService, read, write};
use crate::observe::ServiceState;
use crate::script::wire::{Problem, split};

/// Bytes for the host above which nothing new is handed to it.
const ROOM: usize = 64 * 1024;
/// Questions that wait at once; more of them no host asks.
const MAX_ASKS: usize = 2000;
/// A frame above what a message takes, by this much, is no frame.
const FRAME_MARGIN: usize = 1 << 20;
/// Frames that are read in a second; then the service waits for the next.
const MAX_FRAMES: u32 = 20_000;
/// Lines of a service that are logged in a second; more are dropped and counted.
const MAX_LINES: u32 = 200;
/// Names of members that are told apart.
const MAX_NAMES: usize = 201;
/// How long servers may take to hear of the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// Runs the service until it ends, whatever the reason.
pub(super) async fn live(ground: &Arc<Ground>) -> Over {
    let mut process = match Process::start(ground).await {
        Ok(process) => process,
        Err(why) => return Over::Failed("start", why),
    };
    let mut life = Life::new(ground);
    if let Err(why) = life.begin().await {
        return Over::Failed("start", why);
    }
    let over = life.go_on(&mut process).await;
    let goodbye = timeout(FAREWELL, life.sockets.leave());
    // Servers that take longer find their connection closed.
    tokio::join!(goodbye, process.end()).0.ok();
    over
}

struct Life {
    ground: Arc<Ground>,
    /// For the host.
    out: BytesMut,
    asks: FuturesUnordered<BoxFuture<'static, Result<(u64, Outcome), Aborted>>>,
    asked: HashMap<u64, AbortHandle>,
    ears: Ears,
    sockets: Sockets,
    frames: Tempo,
    lines: Tempo,
    ignored: HashSet<String>,
}

impl Life {
    fn new(ground: &Arc<Ground>) -> Life {
        Life {
            out: BytesMut::new(),
            asks: FuturesUnordered::new(),
            asked: HashMap::new(),
            ears: Ears::new(ground),
            sockets: Sockets::new(ground),
            frames: Tempo::new(MAX_FRAMES),
            lines: Tempo::new(MAX_LINES),
            ignored: HashSet::new(),
            ground: ground.clone(),
        }
    }

    fn say(&mut self, frame: &ToService) {
        write(frame, &mut self.out);
    }

    async fn begin(&mut self) -> Result<(), String> {
        let start = process::start_frame(&self.ground).await?;
        self.say(&ToService::Start(Box::new(start)));
        self.ears.begin();
        Ok(())
    }

    async fn go_on(&mut self, process: &mut Process) -> Over {
        let limits = &self.ground.context.config.limits;
        let max_frame = limits.message + limits.script_memory + FRAME_MARGIN;
        let mut watch = Watch::new(limits.script_time, process.pid);
        let mut received = BytesMut::new();
        let stop = self.ground.context.stop.clone();
        loop {
            let room = self.out.len() < ROOM;
            let full_until = self.frames.full_until();
            let look = full_until.map_or(watch.next, |until| until.min(watch.next));
            tokio::select! {
                () = stop.cancelled() => return Over::Stopped,
                got = process.from.read_buf(&mut received), if full_until.is_none() => {
                    if !matches!(got, Ok(got) if got > 0) {
                        return died();
                    }
                    watch.heard();
                    loop {
                        let frame = match split(&mut received, max_frame) {
                            Ok(Some(frame)) => frame,
                            Ok(None) => break,
                            Err(error) => return broken(&error),
                        };
                        let heard = read(&frame).map(|frame| self.hear(frame));
                        match heard {
                            Ok(None) => {}
                            Ok(Some(over)) => return over,
                            Err(error) => return broken(&error),
                        }
                    }
                }
                sent = process.to.write_buf(&mut self.out), if !self.out.is_empty() => {
                    if sent.is_err() {
                        return died();
                    }
                }
                Some(answered) = self.asks.next(), if room && !self.asks.is_empty() => {
                    if let Ok((ask, outcome)) = answered {
                        self.answer(ask, outcome);
                    }
                }
                news = self.sockets.next(room) => {
                    let (kind, title) = (news.kind.to_owned(), news.title.to_string());
                    let what = Happened::Socket(title, kind, news.message, news.code);
                    self.say(&ToService::Happened { hops: 0, what });
                }
                frame = self.ears.next(), if room => self.say(&frame),
                () = sleep_until(look) => {
                    if watch.is_over() {
                        self.ground.context.metrics.script_host_killed();
                        let why = format!(
                            "CPU time: the script did not stop after {:?}; see limits.script_time",
                            self.ground.context.config.limits.script_time
                        );
                        return Over::Failed("limit", why);
                    }
                    if watch.wants_ping() {
                        self.say(&ToService::Ping);
                    }
                }
            }
        }
    }

    fn answer(&mut self, ask: u64, outcome: Outcome) {
        self.asked.remove(&ask);
        self.say(&ToService::Answer(ask, outcome));
    }

    /// Takes in what the host says. `Some` if that is the end.
    fn hear(&mut self, frame: FromService) -> Option<Over> {
        self.frames.take();
        match frame {
            FromService::Ready => {
                let context = &self.ground.context;
                let row = &self.ground.row.name;
                context.services.set(row, ServiceState::Running);
                tracing::info!(service = &**row, "the service runs");
            }
            FromService::Alive => {}
            FromService::Log(text) => {
                if self.may_log() {
                    tracing::info!(service = self.ground.name(), text, "service says");
                }
            }
            FromService::Ignored(names) => {
                for (member, times) in names {
                    self.note_ignored(member, times);
                }
            }
            FromService::Failed(problem) => {
                if self.may_log() {
                    let Problem {
                        message,
                        file,
                        line,
                        ..
                    } = problem;
                    tracing::warn!(
                        service = self.ground.name(),
                        why = message,
                        file,
                        line,
                        "a coroutine of a service failed"
                    );
                }
            }
            FromService::Full => {
                if self.may_log() {
                    let service = self.ground.name();
                    tracing::warn!(service, "too many coroutines, so an event was lost");
                }
                self.limit_reached("service_coroutines");
            }
            FromService::Ask {
                ask,
                within,
                hops,
                what,
            } => return self.ask(ask, within, hops, what),
            FromService::Drop(ask) => {
                if let Some(asked) = self.asked.remove(&ask) {
                    asked.abort();
                }
            }
            FromService::Open(title, url, headers) => self.sockets.open(title, url, headers),
            FromService::Send(title, text) => {
                if !self.sockets.send(&title, text) && self.may_log() {
                    tracing::warn!(
                        service = self.ground.name(),
                        title,
                        "a message for a socket that is not there"
                    );
                }
            }
            FromService::Remove(title) => self.sockets.remove(&title),
            FromService::Say(hops, said) => self.publish(hops, &said),
            FromService::Replied(call, outcome) => self.ears.replied(call, outcome),
            FromService::Ended(None) => return Some(Over::Returned),
            FromService::Ended(Some(End::Limit(which))) => {
                self.limit_reached("script");
                return Some(Over::Failed("limit", which));
            }
            FromService::Ended(Some(End::Threw(problem))) => {
                let Problem {
                    message,
                    file,
                    line,
                    ..
                } = problem;
                let why = match file.as_str() {
                    "" => message,
                    file => format!("{message} ({file}:{line})"),
                };
                return Some(Over::Failed("error", why));
            }
        }
        None
    }

    fn ask(&mut self, ask: u64, within: Option<u64>, hops: u32, what: Ask) -> Option<Over> {
        if self.asked.len() >= MAX_ASKS {
            return Some(Over::Failed("broken", "its host asks too much".into()));
        }
        if let Some(outcome) = self.ears.ask(ask, &what) {
            if let Some(outcome) = outcome {
                self.answer(ask, outcome);
            }
            return None;
        }
        let deadline = within.and_then(|call| self.ears.deadline(call));
        let mut work = carry_out(&self.ground, what, deadline, hops);
        match (&mut work).now_or_never() {
            Some(outcome) => self.answer(ask, outcome),
            None => {
                let (handle, registration) = AbortHandle::new_pair();
                self.asked.insert(ask, handle);
                let work = work.map(move |outcome| (ask, outcome));
                self.asks.push(Abortable::new(work, registration).boxed());
            }
        }
        None
    }

    /// Publishes to the chat. Nobody waits for it.
    fn publish(&mut self, hops: u32, said: &super::wire::Json) {
        let Some(chat) = self.ground.row.chat.clone() else {
            if self.may_log() {
                tracing::warn!(
                    service = self.ground.name(),
                    "nothing is said: the service's row has no `chat`"
                );
            }
            return;
        };
        let publish = event(&self.ground, chat, said, hops);
        match self.ground.context.hub.publish(publish) {
            // What is not kept is told to whoever waits; here nobody does.
            Ok(receipt) => drop(receipt),
            Err(fault) => {
                if self.may_log() {
                    let service = self.ground.name();
                    tracing::warn!(service, %fault, "what a service said was refused");
                }
            }
        }
    }

    fn note_ignored(&mut self, mut member: String, times: u64) {
        if !self.ignored.contains(&member) {
            if self.ignored.len() >= MAX_NAMES {
                member = "other".into();
            }
            if self.ignored.insert(member.clone()) {
                let service = self.ground.name();
                tracing::info!(
                    service,
                    member,
                    "is nothing but a name here: it does nothing"
                );
            }
        }
        let metrics = &self.ground.context.metrics;
        metrics.service_ignored(self.ground.name(), &member, times);
    }

    /// Whether there may be another line in the log; counts the one that is dropped.
    fn may_log(&mut self) -> bool {
        let may = self.lines.take();
        if !may {
            self.limit_reached("service_log");
        }
        may
    }

    fn limit_reached(&self, limit: &'static str) {
        self.ground.context.metrics.limit_reached(limit);
    }
}

fn died() -> Over {
    let why = "its process ended: the interpreter crashed or ran out of memory";
    Over::Failed("died", why.into())
}

fn broken(error: &std::io::Error) -> Over {
    debug_assert_eq!(error.kind(), ErrorKind::InvalidData);
    Over::Failed("broken", format!("its host says what none says: {error}"))
}

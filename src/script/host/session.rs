//! What the running script has said and asked for, the same for both languages.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::budget::{Budget, Stop};
use super::link::Link;
use crate::call::{rfc3339, unix_ms};
use crate::script::wire::{
    Answer, Ask, Budgets, End, Finished, Problem, Response, Script, Thrown, Work,
};

/// A chatty script is cut off here, in bytes of all its lines.
const MAX_LOG: usize = 64 * 1024;
const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

/// The call that runs.
pub struct Session {
    /// Its clock.
    pub budget: Rc<Budget>,
    /// Bytes that an interpreter may hold for it.
    pub memory: usize,
    link: Arc<Link>,
    file: RefCell<String>,
    log: RefCell<String>,
    level: Cell<usize>,
    response: RefCell<Option<Response>>,
    closed: Cell<bool>,
    /// Keys of this process's own.
    seeds: RandomState,
    seed: Cell<u64>,
    /// What is asked is refused.
    alone: Cell<bool>,
}

impl Session {
    /// With nothing running yet.
    pub fn new(link: Arc<Link>, budgets: Budgets) -> Session {
        let time = Duration::from_micros(budgets.time_us);
        Session {
            budget: Rc::new(Budget::new(time, link.cancelled())),
            memory: budgets.memory as usize,
            link,
            file: RefCell::default(),
            log: RefCell::default(),
            level: Cell::new(0),
            response: RefCell::default(),
            closed: Cell::new(false),
            seeds: RandomState::new(),
            seed: Cell::new(0),
            alone: Cell::new(false),
        }
    }

    /// A call begins.
    pub fn begin(&self, work: &Work, script: &Script) {
        self.budget.begin();
        self.seed.set(self.seeds.hash_one(work.id));
        self.file.borrow_mut().clone_from(&script.path);
        self.log.borrow_mut().clear();
        self.level.set(0);
        *self.response.borrow_mut() = None;
        self.closed.set(false);
    }

    /// What the call's random numbers begin with; it says nothing about another call's.
    pub fn seed(&self) -> u64 {
        self.seed.get()
    }

    /// Works without the daemon: what is asked meanwhile is refused.
    #[cfg(feature = "js")]
    pub fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        self.alone.set(true);
        let result = work();
        self.alone.set(false);
        result
    }

    /// A call is over: what is sent to the daemon.
    pub fn finish(&self, end: End) -> Finished {
        let mut log = self.log.borrow_mut();
        if !log.is_empty() {
            log.push(']');
        }
        Finished {
            end: match self.budget.stop() {
                // A script that caught being stopped gets away with nothing.
                Some(Stop::Time) => self.out_of_time(),
                Some(Stop::Cancelled) => End::Cancelled,
                None => end,
            },
            log: Bytes::copy_from_slice(log.as_bytes()),
            response: self.response.borrow_mut().take(),
        }
    }

    fn out_of_time(&self) -> End {
        End::Limit(format!(
            "CPU time: the script ran for {:?}; see limits.script_time",
            self.budget.limit()
        ))
    }

    /// How a script ended that an interpreter gave up on for want of memory.
    pub fn out_of_memory(&self) -> End {
        End::Limit(format!(
            "memory: the script needs more than {} bytes; see limits.script_memory",
            self.memory
        ))
    }

    /// How a script ended that calls itself too deeply.
    pub fn out_of_stack(&self) -> End {
        End::Limit("stack: the script calls itself too deeply".into())
    }

    /// A line of `console`.
    pub fn log(&self, level: &str, message: &str) {
        let rank = LEVELS.iter().position(|l| *l == level).unwrap_or(1);
        let mut log = self.log.borrow_mut();
        if rank < self.level.get() || log.len() >= MAX_LOG {
            return;
        }
        let room = MAX_LOG - log.len();
        let fits = |at: &usize| message.is_char_boundary(*at);
        let cut = (0..=room.min(message.len())).rev().find(fits).unwrap_or(0);
        let line = serde_json::json!({
            "timestamp": rfc3339(unix_ms()),
            "level": LEVELS[rank],
            "message": if cut < message.len() { format!("{}…", &message[..cut]) } else { message.to_owned() },
        });
        let separator = if log.is_empty() { '[' } else { ',' };
        log.push(separator);
        log.push_str(&line.to_string());
    }

    /// Lines below this level are dropped from now on.
    pub fn set_level(&self, level: &str) {
        let level = level.to_ascii_lowercase();
        if let Some(rank) = LEVELS.iter().chain(&["off"]).position(|l| *l == level) {
            self.level.set(rank);
        }
    }

    fn respond(&self, change: impl FnOnce(&mut Response)) {
        if !self.closed.get() {
            change(self.response.borrow_mut().get_or_insert(Response {
                status: 200,
                ..Response::default()
            }));
        }
    }

    /// `response.setStatus`.
    pub fn set_status(&self, status: u16) -> Result<(), &'static str> {
        if !(200..=599).contains(&status) {
            return Err("response.setStatus: a status is a number from 200 to 599");
        }
        self.respond(|response| response.status = status);
        Ok(())
    }

    /// `response.setHeader` replaces, `response.addHeaders` adds.
    pub fn header(&self, name: &str, value: &str, replace: bool) -> Result<(), &'static str> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err("response.setHeader: this is not a header name");
        }
        if value.contains(['\r', '\n', '\0']) {
            return Err("response.setHeader: a header value is one line");
        }
        self.respond(|response| {
            if replace {
                response
                    .headers
                    .retain(|(n, _)| !n.eq_ignore_ascii_case(name));
            }
            response.headers.push((name.to_owned(), value.to_owned()));
        });
        Ok(())
    }

    /// `response.write`.
    pub fn write(&self, bytes: &[u8]) -> Result<(), &'static str> {
        let mut result = Ok(());
        self.respond(|response| {
            if response.body.len() + bytes.len() > self.memory {
                result = Err("response.write: more than limits.script_memory");
                return;
            }
            let mut body = Vec::from(std::mem::take(&mut response.body));
            body.extend_from_slice(bytes);
            response.body = body.into();
        });
        result
    }

    /// `response.close`: what follows is ignored.
    pub fn close(&self) {
        self.respond(|_| {});
        self.closed.set(true);
    }

    /// Asks the daemon for a value.
    pub fn ask(&self, ask: Ask) -> Result<Bytes, Thrown> {
        match self.wait(ask)? {
            Answer::Value(json) => Ok(json),
            Answer::Fault(thrown) => Err(thrown),
            Answer::Module(_) => Err(broken()),
        }
    }

    /// Asks the daemon for a module.
    pub fn module(&self, path: &str, from: &str) -> Result<Script, Thrown> {
        match self.wait(Ask::Module(path.to_owned(), from.to_owned()))? {
            Answer::Module(script) => Ok(script),
            Answer::Fault(thrown) => Err(thrown),
            Answer::Value(_) => Err(broken()),
        }
    }

    fn wait(&self, ask: Ask) -> Result<Answer, Thrown> {
        if self.budget.over() {
            return Err(cancelled());
        }
        if self.alone.get() {
            return Err(Thrown {
                kind: "invalid_request".into(),
                message: "a script asks for nothing before it is called".into(),
                data: Bytes::new(),
            });
        }
        match self.link.ask(ask) {
            Ok(Some(answer)) => Ok(answer),
            // The interpreter stops at its next step.
            Ok(None) => Err(cancelled()),
            Err(_gone) => std::process::exit(0),
        }
    }

    /// What a thrown error becomes.
    pub fn threw(&self, mut problem: Problem) -> End {
        if problem.file.is_empty() {
            problem.file.clone_from(&self.file.borrow());
        }
        End::Threw(problem)
    }
}

fn cancelled() -> Thrown {
    Thrown {
        kind: "cancelled".into(),
        message: "the caller went away".into(),
        data: Bytes::new(),
    }
}

fn broken() -> Thrown {
    Thrown {
        kind: "internal".into(),
        message: "an answer of another kind".into(),
        data: Bytes::new(),
    }
}

//! The child's end of the socket.
//!
//! The thread that runs scripts reads and writes it itself, many frames at once. While a script
//! runs for long, a second thread looks after it: it gives calls back that the daemon recalls,
//! hears of cancelled callers, and ends the process when the daemon is gone.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::{Condvar, Mutex};
use rustix::net::{RecvFlags, recv};

use crate::script::wire::{
    Answer, Ask, Budgets, End, Finished, FromHost, Script, ToHost, Work, split,
};

/// How often the watching thread looks while scripts run.
const LOOK: Duration = Duration::from_millis(4);
/// How long it goes on looking after the last call, before it has to be woken.
const LINGER: u32 = 50;
/// Finished calls are sent together, but never more than so many,
const BATCH: u32 = 128;
/// nor later than this after the first of them began, or a while later if a slow one runs behind
/// them: see [`LOOK`].
const HOLD: Duration = Duration::from_micros(500);
const CHUNK: usize = 16 * 1024;

pub struct Link {
    inbox: Mutex<Inbox>,
    outbox: Mutex<Outbox>,
    socket: UnixStream,
    /// The call that runs, 0 for none.
    running: AtomicU64,
    cancelled: Arc<AtomicBool>,
    watcher_sleeps: Mutex<bool>,
    wake_watcher: Condvar,
}

#[derive(Default)]
struct Inbox {
    buffer: BytesMut,
    work: VecDeque<Box<Work>>,
    scripts: HashMap<u32, Arc<Script>>,
    answer: Option<Answer>,
}

#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    count: u32,
    /// When the first of the calls began.
    since: Option<Instant>,
}

impl Link {
    /// Takes the socket over; the first frame says what the budgets are.
    pub fn open(socket: UnixStream) -> io::Result<(Link, Budgets)> {
        let link = Link {
            inbox: Mutex::default(),
            outbox: Mutex::default(),
            socket,
            running: AtomicU64::new(0),
            cancelled: Arc::default(),
            watcher_sleeps: Mutex::new(false),
            wake_watcher: Condvar::new(),
        };
        let mut inbox = link.inbox.lock();
        let budgets = loop {
            match split(&mut inbox.buffer, usize::MAX)?.map(ToHost::read) {
                Some(Ok(ToHost::Budgets(budgets))) => break budgets,
                Some(_) => return Err(io::Error::other("the daemon speaks otherwise")),
                None => link.fill(&mut inbox, RecvFlags::empty())?,
            }
        };
        drop(inbox);
        Ok((link, budgets))
    }

    /// Set while the running call should stop.
    pub fn cancelled(&self) -> Arc<AtomicBool> {
        self.cancelled.clone()
    }

    /// Starts the watching thread. Later the sandbox lets no thread be started any more.
    pub fn watch(link: &Arc<Link>) -> io::Result<()> {
        let link = link.clone();
        std::thread::Builder::new()
            .name("watch".into())
            .stack_size(256 * 1024)
            .spawn(move || link.look_after())?;
        Ok(())
    }

    fn look_after(&self) {
        let (mut last, mut idle) = (0, 0);
        loop {
            {
                let mut sleeps = self.watcher_sleeps.lock();
                // A call that has begun meanwhile would not wake it.
                if idle > LINGER && self.running.load(Ordering::Acquire) == 0 {
                    *sleeps = true;
                    self.wake_watcher.wait(&mut sleeps);
                    (*sleeps, idle) = (false, 0);
                } else {
                    self.wake_watcher.wait_for(&mut sleeps, LOOK);
                }
            }
            let running = self.running.load(Ordering::Acquire);
            idle = if running == 0 { idle + 1 } else { 0 };
            // The same call since the last look: the main thread comes neither to reading nor to
            // sending what it holds back.
            if running != 0
                && running == last
                && let Some(mut inbox) = self.inbox.try_lock()
                && let Err(error) = self.flush().and_then(|()| self.catch_up(&mut inbox))
                && error.kind() != ErrorKind::WouldBlock
            {
                // The daemon is gone, and with it everyone who waits for this script.
                std::process::exit(0);
            }
            last = running;
        }
    }

    fn catch_up(&self, inbox: &mut Inbox) -> io::Result<()> {
        loop {
            self.fill(inbox, RecvFlags::DONTWAIT)?;
            self.sort(inbox)?;
        }
    }

    /// Whether a call is waiting, as far as one can see without waiting for it. What is finished
    /// is sent before anything is made ahead.
    pub fn has_work(&self) -> io::Result<bool> {
        let mut inbox = self.inbox.lock();
        if !inbox.work.is_empty() {
            return Ok(true);
        }
        self.flush()?;
        match self.catch_up(&mut inbox) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(!inbox.work.is_empty()),
        }
    }

    /// The next call; waits for it.
    pub fn next(&self) -> io::Result<Box<Work>> {
        let mut inbox = self.inbox.lock();
        loop {
            if let Some(work) = inbox.work.pop_front() {
                self.cancelled.store(false, Ordering::Relaxed);
                self.running.store(work.id, Ordering::Release);
                drop(inbox);
                self.outbox.lock().since.get_or_insert_with(Instant::now);
                if *self.watcher_sleeps.lock() {
                    self.wake_watcher.notify_one();
                }
                return Ok(work);
            }
            self.flush()?;
            self.fill(&mut inbox, RecvFlags::empty())?;
            self.sort(&mut inbox)?;
        }
    }

    /// A script that the daemon has sent.
    pub fn script(&self, number: u32) -> Option<Arc<Script>> {
        self.inbox.lock().scripts.get(&number).cloned()
    }

    /// A call is over. What came of it leaves with others, but soon.
    pub fn done(&self, id: u64, finished: Finished) -> io::Result<()> {
        self.running.store(0, Ordering::Release);
        let mut out = self.outbox.lock();
        FromHost::Done(id, Box::new(finished)).write(&mut out.bytes);
        out.count += 1;
        let late = out.since.is_none_or(|since| since.elapsed() > HOLD);
        if out.count >= BATCH || out.bytes.len() > CHUNK || late {
            self.write(&mut out)?;
        }
        Ok(())
    }

    /// Asks the daemon for something on behalf of the running script, and waits for the answer.
    /// `None` when the caller went away meanwhile.
    pub fn ask(&self, ask: Ask) -> io::Result<Option<Answer>> {
        let id = self.running.load(Ordering::Acquire);
        let mut inbox = self.inbox.lock();
        inbox.answer = None;
        self.send(&FromHost::Ask(id, ask))?;
        loop {
            if let Some(answer) = inbox.answer.take() {
                if let Answer::Module(script) = &answer {
                    let script = Arc::new(script.clone());
                    inbox.scripts.insert(script.number, script);
                }
                return Ok(Some(answer));
            }
            if self.cancelled.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.fill(&mut inbox, RecvFlags::empty())?;
            self.sort(&mut inbox)?;
        }
    }

    /// Sends one frame, and before it what was held back.
    pub fn send(&self, frame: &FromHost) -> io::Result<()> {
        let mut out = self.outbox.lock();
        frame.write(&mut out.bytes);
        self.write(&mut out)
    }

    fn flush(&self) -> io::Result<()> {
        self.write(&mut self.outbox.lock())
    }

    fn write(&self, out: &mut Outbox) -> io::Result<()> {
        if !out.bytes.is_empty() {
            (&self.socket).write_all(&out.bytes)?;
            *out = Outbox {
                bytes: std::mem::take(&mut out.bytes),
                ..Outbox::default()
            };
            out.bytes.clear();
        }
        Ok(())
    }

    fn fill(&self, inbox: &mut Inbox, flags: RecvFlags) -> io::Result<()> {
        let have = inbox.buffer.len();
        inbox.buffer.resize(have + CHUNK, 0);
        let result = recv(&self.socket, &mut inbox.buffer[have..], flags);
        let got = result.as_ref().map_or(0, |(_, got)| *got);
        inbox.buffer.truncate(have + got);
        match result {
            Ok(_) if got == 0 => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error == rustix::io::Errno::INTR => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts what has arrived where it belongs.
    fn sort(&self, inbox: &mut Inbox) -> io::Result<()> {
        while let Some(frame) = split(&mut inbox.buffer, usize::MAX)? {
            match ToHost::read(frame)? {
                ToHost::Budgets(_) => {}
                ToHost::Script(script) => {
                    inbox.scripts.insert(script.number, Arc::new(script));
                }
                ToHost::Call(work) => inbox.work.push_back(work),
                ToHost::Answer(answer) => inbox.answer = Some(answer),
                ToHost::Recall => {
                    let ids = inbox.work.drain(..).map(|work| work.id).collect();
                    self.send(&FromHost::Returned(ids))?;
                }
                ToHost::Cancel(id) if self.running.load(Ordering::Acquire) == id => {
                    self.cancelled.store(true, Ordering::Relaxed);
                }
                ToHost::Cancel(id) => {
                    let waiting = inbox.work.len();
                    inbox.work.retain(|work| work.id != id);
                    if inbox.work.len() < waiting {
                        let finished = Finished {
                            end: End::Cancelled,
                            log: Default::default(),
                            response: None,
                        };
                        self.send(&FromHost::Done(id, Box::new(finished)))?;
                    }
                }
            }
        }
        Ok(())
    }
}

//! Inside the child process of one service: takes frames from the daemon one after the other.
//!
//! There is one thread. All waiting is done by the daemon: a coroutine that waits is resumed by a
//! frame, so the next frame is all that is ever waited for here. While it runs, further frames
//! wait in the socket, and behind them the daemon.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::wire::{FromService, ToService, read, write};
use crate::script::host::close;
use crate::script::wire::split;

/// How long the daemon may hear nothing while there is work.
const QUIET: Duration = Duration::from_millis(100);
const CHUNK: usize = 16 * 1024;

/// Runs a service for the daemon that started this process, until either is over.
pub fn service_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // The daemon has no more use for this process, or is gone.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("callway service-host: {error}");
            ExitCode::from(70)
        }
    }
}

/// The child's end of the socket.
struct Line {
    socket: UnixStream,
    received: BytesMut,
    sending: BytesMut,
    /// Members that were used and do nothing, since the last flush.
    ignored: BTreeMap<String, u64>,
    spoke: Instant,
}

impl Line {
    fn frame(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(frame) = split(&mut self.received, usize::MAX)? {
                return Ok(frame);
            }
            let have = self.received.len();
            self.received.resize(have + CHUNK, 0);
            let got = match self.socket.read(&mut self.received[have..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                got => got?,
            };
            self.received.truncate(have + got);
        }
    }

    fn say(&mut self, frame: FromService) -> io::Result<()> {
        // A loop that does nothing but nothing is to be one line, not thousands.
        if let FromService::Ignored(names) = frame {
            for (name, times) in names {
                *self.ignored.entry(name).or_default() += times;
            }
            return Ok(());
        }
        write(&frame, &mut self.sending);
        match self.sending.len() > CHUNK {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Sends what was said. After long work the daemon hears at least that it goes on.
    fn flush(&mut self) -> io::Result<()> {
        if !self.ignored.is_empty() {
            let ignored = std::mem::take(&mut self.ignored).into_iter().collect();
            write(&FromService::Ignored(ignored), &mut self.sending);
        } else if self.sending.is_empty() && self.spoke.elapsed() > QUIET {
            write(&FromService::Alive, &mut self.sending);
        }
        if self.sending.is_empty() {
            return Ok(());
        }
        self.spoke = Instant::now();
        let sent = self.socket.write_all(&self.sending);
        self.sending.clear();
        sent
    }
}

fn serve() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if socket.peer_addr().is_err() {
        return Err(io::Error::other("is started by `callway run`, not by hand"));
    }
    let mut line = Line {
        socket,
        received: BytesMut::new(),
        sending: BytesMut::new(),
        ignored: BTreeMap::new(),
        spoke: Instant::now(),
    };
    let ToService::Start(start) = read(&line.frame()?)? else {
        return Err(io::Error::other("the daemon speaks otherwise"));
    };
    close(start.memory)?;
    line.say(FromService::Ready)?;
    line.flush()?;
    run(line, &start)
}

#[cfg(feature = "lua")]
fn run(line: Line, start: &super::wire::Start) -> io::Result<()> {
    use std::cell::RefCell;
    use std::rc::Rc;

    use crate::script::lua::Mouth;

    let line = Rc::new(RefCell::new(line));
    let mouth: Mouth = Rc::new({
        let line = line.clone();
        move |frame| {
            // The daemon is gone, and with it everyone whom this service could serve.
            if line.borrow_mut().say(frame).is_err() {
                std::process::exit(0);
            }
        }
    });
    let end = talk(&line, start, &mouth)?;
    mouth(FromService::Ended(Some(end)));
    let mut line = line.borrow_mut();
    line.flush()?;
    // The daemon closes the line when it has heard of it.
    line.frame().map(drop)
}

/// Ends with the line, or with what no service outlives.
#[cfg(feature = "lua")]
fn talk(
    line: &std::cell::RefCell<Line>,
    start: &super::wire::Start,
    mouth: &crate::script::lua::Mouth,
) -> io::Result<super::wire::End> {
    let machine = match crate::script::lua::Machine::new(start, mouth) {
        Ok(machine) => machine,
        Err(end) => return Ok(end),
    };
    let mut heard = machine.start();
    loop {
        if let Err(end) = heard {
            return Ok(end);
        }
        line.borrow_mut().flush()?;
        let frame = line.borrow_mut().frame()?;
        heard = match read(&frame)? {
            ToService::Ping => Ok(line.borrow_mut().say(FromService::Alive)?),
            frame => machine.hear(frame),
        };
    }
}

#[cfg(not(feature = "lua"))]
fn run(_line: Line, _start: &super::wire::Start) -> io::Result<()> {
    Err(io::Error::other("this callway is built without Lua"))
}

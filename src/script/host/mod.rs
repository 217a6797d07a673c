//! Inside the child process: takes calls from the daemon one after the other and runs them.

mod budget;
mod link;
mod sandbox;
mod session;

use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::rc::Rc;

#[cfg(feature = "lua")]
pub(super) use self::budget::Budget;
pub(super) use self::sandbox::close;
pub(super) use self::session::Session;
use super::wire::{End, Finished, FromHost, Problem, Script, Work};
use link::Link;

/// Runs scripts for the daemon that started this process, until it closes the socket.
///
/// The socket is standard input. Everything a script may do beside computing goes through it.
pub fn host_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // The daemon has no more use for this process, or is gone; nobody misses an answer.
        Err(error) if is_farewell(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("callway script-host: {error}");
            ExitCode::from(70)
        }
    }
}

/// Whether the daemon closed the socket.
fn is_farewell(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

fn serve() -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if socket.peer_addr().is_err() {
        return Err(io::Error::other("is started by `callway run`, not by hand"));
    }
    let (link, budgets) = Link::open(socket)?;
    let link = std::sync::Arc::new(link);
    Link::watch(&link)?;
    sandbox::close(budgets.memory)?;
    let session = Rc::new(Session::new(link.clone(), budgets));
    let mut engines = Engines::new(&session);
    engines.prepare();
    link.send(&FromHost::Ready)?;
    loop {
        // What can be made ahead is made while nobody waits.
        if !link.has_work()? {
            engines.prepare();
        }
        let work = link.next()?;
        let finished = run(&link, &session, &mut engines, &work);
        link.done(work.id, finished)?;
    }
}

fn run(link: &Link, session: &Rc<Session>, engines: &mut Engines, work: &Work) -> Finished {
    let Some(script) = link.script(work.script) else {
        return Finished {
            end: End::Threw(Problem {
                message: "this script was never sent to its host".into(),
                ..Problem::default()
            }),
            log: Default::default(),
            response: None,
        };
    };
    session.begin(work, &script);
    let end = engines.run(work, &script);
    session.finish(end)
}

/// The interpreters that are built in.
struct Engines {
    #[cfg(feature = "js")]
    js: super::js::Engine,
    #[cfg(feature = "lua")]
    lua: super::lua::Engine,
}

impl Engines {
    fn new(session: &Rc<Session>) -> Engines {
        let _ = session; // for a build without interpreters
        Engines {
            #[cfg(feature = "js")]
            js: super::js::Engine::new(session.clone()),
            #[cfg(feature = "lua")]
            lua: super::lua::Engine::new(session.clone()),
        }
    }

    /// Makes ready what the next call finds, so that it need not wait for it.
    fn prepare(&mut self) {
        #[cfg(feature = "js")]
        self.js.prepare();
        #[cfg(feature = "lua")]
        self.lua.prepare();
    }

    fn run(&mut self, work: &Work, script: &Script) -> End {
        let _ = work; // for a build without interpreters
        let result: Result<Vec<u8>, End> = match script.path.rsplit_once('.') {
            #[cfg(feature = "js")]
            Some((_, "js")) => self.js.run(work, script),
            #[cfg(feature = "lua")]
            Some((_, "lua")) => self.lua.run(work, script),
            _ => Err(End::Threw(Problem {
                message: "this callway is built without the language of this script".into(),
                file: script.path.clone(),
                ..Problem::default()
            })),
        };
        result.map_or_else(|end| end, |json| End::Value(json.into()))
    }
}

//! Starts host processes.

use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::floor::Floor;
use super::host::Host;
use super::{Pool, drive};
use crate::script::wire::ToHost;

/// Scripts that compute at the same time; more of them only wait for each other's cores.
const MAX_RUNNING: usize = 16;
/// Hosts altogether: a script that waits for another occupies one without using a core.
const MAX_HOSTS: usize = 64;
/// After a host could not be started.
const PAUSE: Duration = Duration::from_millis(500);

impl Pool {
    /// Starts hosts until enough are free, within the bounds.
    pub(super) fn refill(self: &Arc<Self>, floor: &mut Floor) {
        if floor.closed || floor.pause.is_some_and(|until| until > Instant::now()) {
            return;
        }
        floor.pause = None;
        while floor.spare() < floor.cores
            && floor.hosts.len() < MAX_HOSTS
            && floor.computing() < MAX_RUNNING.max(2 * floor.cores)
        {
            match launch("script-host") {
                Ok((stream, child)) => {
                    floor.last_host += 1;
                    let mut host = Host::new(child.id().unwrap_or_default());
                    ToHost::Budgets(self.budgets).write(&mut host.out);
                    let task = drive::drive(
                        self.clone(),
                        floor.last_host,
                        stream,
                        child,
                        host.wake.clone(),
                    );
                    floor.hosts.insert(floor.last_host, host);
                    self.context.background.spawn(task);
                }
                Err(error) => {
                    tracing::error!(%error, "cannot start a script host");
                    floor.pause = Some(Instant::now() + PAUSE);
                    return;
                }
            }
        }
    }

    /// No host is started for a while: the last one did not come up.
    pub(super) fn pause(&self, floor: &mut Floor) {
        floor.pause = Some(Instant::now() + PAUSE);
    }
}

/// The same binary with nothing of this process but one end of a socket pair, its standard input.
pub(in crate::script) fn launch(command: &str) -> std::io::Result<(UnixStream, Child)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let child = Command::new("/proc/self/exe")
        .arg0("callway")
        .arg(command)
        .env_clear()
        // Local time is UTC, and no file is needed to know it.
        .env("TZ", "UTC0")
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // A Ctrl-C on the terminal is for the daemon, which still needs its hosts to drain.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((UnixStream::from_std(ours)?, child))
}

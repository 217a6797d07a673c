//! The process of a service: how it starts and ends, and when it has to.

use std::time::Duration;

use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::time::{Instant, timeout};

use crate::script::pool::host::cpu_time;
use crate::script::pool::launch::launch;
use crate::script::service::Ground;
use crate::script::service::wire::Start;

/// Between two questions whether it lives.
const PING: Duration = Duration::from_secs(1);
/// Between two looks while it has not answered.
const LOOK: Duration = Duration::from_millis(50);
/// How long it may take to end after its socket was closed.
const FAREWELL: Duration = Duration::from_millis(200);
/// The longest that others may keep it from running, in times of what it may take.
const STARVED: u32 = 8;

/// A running host.
pub(super) struct Process {
    pub(super) from: OwnedReadHalf,
    pub(super) to: OwnedWriteHalf,
    pub(super) pid: u32,
    child: Child,
}

impl Process {
    pub(super) async fn start(ground: &Ground) -> Result<Process, String> {
        let launched = launch("service-host");
        let (stream, child) =
            launched.map_err(|error| format!("its process cannot be started: {error}"))?;
        let pid = child.id().unwrap_or_default();
        tracing::debug!(service = ground.name(), pid, "service host started");
        let (from, to) = stream.into_split();
        Ok(Process {
            from,
            to,
            pid,
            child,
        })
    }

    /// Lets it go; kills it if it does not.
    pub(super) async fn end(self) {
        let Process {
            from,
            to,
            mut child,
            ..
        } = self;
        drop((from, to));
        if timeout(FAREWELL, child.wait()).await.is_err() {
            // It has ended by itself if it cannot be killed.
            child.start_kill().ok();
            timeout(FAREWELL, child.wait()).await.ok();
        }
    }
}

/// What the service starts with: its script as it is now, and what it saved.
pub(super) async fn start_frame(ground: &Ground) -> Result<Start, String> {
    let script = ground.library.get(&ground.row.script).await?;
    let source = String::from_utf8(script.source.to_vec())
        .map_err(|_| format!("the script {} is not UTF-8", script.path))?;
    let store = &ground.context.store;
    let saved = store.service_data(ground.own_scope(), "settings".into());
    let saved = saved.await.map_err(|fault| {
        let why = fault.message;
        format!("what it saved cannot be read: {why}")
    })?;
    let limits = &ground.context.config.limits;
    Ok(Start {
        name: ground.name().to_owned(),
        path: script.path.clone(),
        source,
        time_us: limits.script_time.as_micros() as u64,
        memory: limits.script_memory as u64,
        message: limits.message,
        saved,
    })
}

/// Sees to it that the host comes to reading. Its own clock stops most scripts; this is for those
/// that keep it from looking.
pub(super) struct Watch {
    /// When to look again.
    pub(super) next: Instant,
    limit: Duration,
    pid: u32,
    /// Since when it owes an answer, and its CPU time then.
    owes: Option<(Instant, Option<Duration>)>,
}

impl Watch {
    pub(super) fn new(script_time: Duration, pid: u32) -> Watch {
        Watch {
            next: Instant::now() + PING,
            limit: script_time,
            pid,
            owes: None,
        }
    }

    /// It said something.
    pub(super) fn heard(&mut self) {
        self.owes = None;
    }

    /// Whether it has had its time: of the CPU where the kernel shows it, since others may keep it
    /// from running.
    pub(super) fn is_over(&self) -> bool {
        let Some((since, before)) = self.owes else {
            return false;
        };
        let patience = self.limit.mul_f64(1.4);
        match cpu_time(self.pid).zip(before) {
            Some((now, before)) if since.elapsed() < patience * STARVED => {
                now.saturating_sub(before) > patience
            }
            _ => since.elapsed() > patience,
        }
    }

    /// Whether it should be asked now. Sets when to look again.
    pub(super) fn wants_ping(&mut self) -> bool {
        let now = Instant::now();
        if now < self.next {
            return false; // something else was waited for
        }
        let asks = self.owes.is_none();
        if asks {
            self.owes = Some((now, cpu_time(self.pid)));
        }
        self.next = now + if asks { PING.min(self.limit) } else { LOOK };
        asks
    }
}

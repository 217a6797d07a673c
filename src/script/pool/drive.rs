//! The task of each host, which owns its process and its socket; and the one that watches them all.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Pool;
use super::floor::{Event, Patience};
use super::host::Doom;
use crate::call::{Fault, Kind};
use crate::script::wire::{FromHost, split};

/// Between two looks at running scripts.
const LOOK: Duration = Duration::from_millis(5);
/// How long a script may go on after its caller has gone.
const ABANDONED: Duration = Duration::from_millis(100);
/// How long a host above the usual number stays without work.
const IDLE: Duration = Duration::from_secs(30);
/// How long a process may take to end after its socket was closed.
const FAREWELL: Duration = Duration::from_millis(200);
/// A frame above the largest result by this much is no frame.
const FRAME_MARGIN: usize = 1 << 20;
const CHUNK: usize = 16 * 1024;

/// Carries frames to and from one host until either ends, then sees to what it left.
pub(super) async fn drive(
    pool: Arc<Pool>,
    id: u64,
    mut stream: UnixStream,
    mut child: Child,
    wake: Arc<Notify>,
) {
    let pid = child.id();
    tracing::debug!(host = id, pid, "script host started");
    let end = tokio::select! {
        end = carry(&pool, id, &mut stream, &wake) => end,
        () = pool.context.stop.cancelled() => Ok(Doom::Surplus),
    };
    drop(stream);
    let stopping = pool.context.stop.is_cancelled();
    let killed = matches!(end, Ok(Doom::Time | Doom::Abandoned));
    if killed || timeout(FAREWELL, child.wait()).await.is_err() {
        // It has ended by itself if it cannot be killed.
        child.start_kill().ok();
    }
    let verdict = verdict(&pool, &end);
    let mut news = Vec::new();
    {
        let mut floor = pool.floor.lock();
        floor.closed |= stopping;
        let came_up = floor.hosts.get(&id).is_none_or(|host| host.ready);
        if killed {
            pool.context.metrics.script_host_killed();
        }
        match &end {
            Err(error) if !stopping => {
                tracing::warn!(host = id, pid, %error, came_up, "a script host ended");
                if !came_up {
                    pool.pause(&mut floor);
                }
            }
            end => tracing::debug!(host = id, pid, ?end, "script host ended"),
        }
        floor.bury(id, verdict, &mut news);
        if stopping || (!came_up && floor.hosts.is_empty()) {
            let fault = Fault::new(
                Kind::Unavailable,
                "script hosts cannot be started, see the log",
            );
            news.extend(
                floor
                    .queue
                    .drain(..)
                    .map(|job| (job, Event::Lost(fault.clone()))),
            );
        }
        pool.refill(&mut floor);
    }
    for (job, event) in news {
        job.tell(event);
    }
    // The process is reaped before its task is over.
    timeout(FAREWELL, child.wait()).await.ok();
}

/// For the call that was the end of its host.
fn verdict(pool: &Pool, end: &io::Result<Doom>) -> Fault {
    let message = match end {
        Ok(Doom::Time) => format!(
            "CPU time: the script did not stop after {:?} and was killed; see limits.script_time",
            pool.script_time()
        ),
        Ok(Doom::Abandoned) => "the caller went away".to_owned(),
        Ok(Doom::Surplus) => return Fault::new(Kind::ShuttingDown, "the script hosts are ending"),
        Err(_) => {
            "the script was the end of its interpreter: it crashed or ran out of memory; see \
                   limits.script_memory"
                .to_owned()
        }
    };
    Fault::new(Kind::ScriptLimit, message)
}

async fn carry(pool: &Pool, id: u64, stream: &mut UnixStream, wake: &Notify) -> io::Result<Doom> {
    let max_frame =
        pool.context.config.limits.message + FRAME_MARGIN + pool.budgets.memory as usize;
    let (mut reader, writer) = stream.split();
    let mut received = BytesMut::with_capacity(CHUNK);
    let (mut sending, mut sent) = (Vec::new(), 0);
    loop {
        if sent == sending.len() {
            sending.clear();
            sent = 0;
            let mut floor = pool.floor.lock();
            if let Some(host) = floor.hosts.get_mut(&id) {
                if let Some(doom) = host.doom {
                    return Ok(doom);
                }
                std::mem::swap(&mut sending, &mut host.out);
            }
        }
        if sent < sending.len() {
            match writer.try_write(&sending[sent..]) {
                Ok(count) => {
                    sent += count;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        received.reserve(CHUNK);
        tokio::select! {
            read = reader.read_buf(&mut received) => match read? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                _ => hear(pool, id, &mut received, max_frame)?,
            },
            writable = writer.writable(), if sent < sending.len() => writable?,
            () = wake.notified() => {
                // Doom does not wait until a host that reads nothing has read everything.
                if let Some(doom) = pool.floor.lock().hosts.get(&id).and_then(|host| host.doom) {
                    return Ok(doom);
                }
            }
        }
    }
}

fn hear(pool: &Pool, id: u64, received: &mut BytesMut, max_frame: usize) -> io::Result<()> {
    let mut frames = Vec::new();
    while let Some(frame) = split(received, max_frame)? {
        frames.push(FromHost::read(frame)?);
    }
    if frames.is_empty() {
        return Ok(());
    }
    let mut news = Vec::with_capacity(frames.len());
    {
        let mut floor = pool.floor.lock();
        let now = Instant::now();
        for frame in frames {
            let heard = floor.hear(id, frame, now, &mut news);
            heard.ok_or_else(|| io::Error::other("a script host said what none says"))?;
        }
        floor.dispatch();
    }
    for (job, event) in news {
        job.tell(event);
    }
    Ok(())
}

/// Watches over running scripts; sleeps while none runs.
pub(super) async fn sweep(pool: Arc<Pool>) {
    // All of it within 1.5 × the limit.
    let patience = Patience {
        stop_after: pool.script_time().mul_f64(1.2),
        kill_after: pool.script_time().mul_f64(1.4),
        abandoned: ABANDONED,
        fair_share: pool.script_time() / 8,
    };
    loop {
        tokio::select! {
            () = pool.context.stop.cancelled() => return,
            () = pool.busy.notified() => {}
            () = sleep(IDLE) => pool.floor.lock().thin_out(IDLE),
        }
        loop {
            sleep(LOOK).await;
            let mut floor = pool.floor.lock();
            let busy = floor.sweep(&patience);
            pool.refill(&mut floor);
            if !busy || pool.context.stop.is_cancelled() {
                break;
            }
        }
    }
}

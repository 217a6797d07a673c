//! SIGTERM and SIGINT: the first drains, the second ends at once.

use std::io;
use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How a daemon came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// What was under way was finished, or cut off at the limit with an answer.
    Drained,
    /// A second signal ended it before that.
    AtOnce,
}

/// The signals that ask a daemon to end.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over: from here on they no longer end the process by themselves.
    pub fn take() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Runs a daemon until signals end it. After [`Ended::AtOnce`] the process should exit without
    /// waiting for anything.
    pub async fn run(mut self, app: App) -> Ended {
        let shutdown = CancellationToken::new();
        let mut running = pin!(app.run(shutdown.clone()));
        loop {
            tokio::select! {
                () = &mut running => return Ended::Drained,
                signal = self.next() => {
                    if shutdown.is_cancelled() {
                        tracing::warn!(signal, "second signal, ending at once");
                        return Ended::AtOnce;
                    }
                    tracing::info!(signal, "draining");
                    shutdown.cancel();
                }
            }
        }
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

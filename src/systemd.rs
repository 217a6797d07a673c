//! What systemd is told: READY, STATUS, STOPPING, and WATCHDOG only while calls can be taken.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent (sd_notify(3)).

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::timeout;

use crate::context::Context;

/// Between two words about the state where no watchdog asks for more.
const BEAT: Duration = Duration::from_secs(5);
/// A watchdog that asks for less than this is fed this often.
const SHORTEST_BEAT: Duration = Duration::from_millis(50);

/// The service manager, seen from a daemon.
pub(crate) struct Supervisor {
    context: Context,
    /// `WatchdogSec=` of the unit.
    watchdog: Option<Duration>,
}

impl Supervisor {
    pub(crate) fn new(context: &Context) -> Supervisor {
        Supervisor {
            context: context.clone(),
            watchdog: sd_notify::watchdog_enabled(),
        }
    }

    /// Says that callway serves, and from then on how it goes. Ends only by being dropped.
    pub(crate) async fn tell(&self) {
        send(&[NotifyState::Ready, NotifyState::Status(&self.status())]);
        // Three tries before the watchdog bites.
        let beat = self
            .watchdog
            .map_or(BEAT, |limit| (limit / 3).max(SHORTEST_BEAT));
        loop {
            tokio::time::sleep(beat).await;
            if self.makes_progress(beat).await {
                send(&[NotifyState::Watchdog, NotifyState::Status(&self.status())]);
            } else {
                tracing::error!("calls make no progress, the watchdog is not fed");
            }
        }
    }

    /// Says that callway takes no more calls.
    pub(crate) fn stopping(&self) {
        send(&[
            NotifyState::Stopping,
            NotifyState::Status("draining: finishing the calls under way"),
        ]);
    }

    /// Whether a task like that of a call is started and gets through the dispatcher in time. A
    /// timer alone would also go off in a process that serves nobody.
    async fn makes_progress(&self, patience: Duration) -> bool {
        let dispatcher = self.context.dispatcher.clone();
        let probe = self
            .context
            .tasks
            .spawn(async move { dispatcher.probe().await });
        matches!(timeout(patience, probe).await, Ok(Ok(())))
    }

    /// One line for `systemctl status`.
    fn status(&self) -> String {
        let mut status = format!(
            "serving, {} calls under way",
            self.context.dispatcher.in_flight()
        );
        for (bus, state) in self.context.links.all() {
            status.push_str(&format!("; bus {bus} {}", state.as_str()));
        }
        status
    }
}

fn send(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told the state");
    }
}

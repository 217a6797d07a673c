//! What both connections of a link have in common: their settings, and the pauses between tries.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::connection::{Mode, Settings};
use super::{HEADROOM, Setup};
use crate::client::Trust;
use crate::link::Backoff;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A connection that held this long was a good one: the waits start over.
const GOOD: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Messages of QoS 1 and 2 on their way at once; brokers take fewer and say so.
const INFLIGHT: u16 = 1000;
/// Room in the queue beyond one message for each call: for refusals.
const SPARE: usize = 256;
/// As many messages as a broker can send before it has an acknowledgement: one for each packet
/// identifier.
const IDENTIFIERS: usize = u16::MAX as usize;
/// Messages sent with one write, and read before anything else is done.
const BATCH: usize = 128;

/// The tries to keep one connection.
pub(super) struct Tries {
    mode: Mode,
    backoff: Backoff,
    started: Instant,
    /// The authorities are read when they are first needed, and again until they can be read.
    tls: Option<Arc<ClientConfig>>,
}

impl Tries {
    pub(super) fn new(mode: Mode) -> Tries {
        Tries {
            mode,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            started: Instant::now(),
            tls: None,
        }
    }

    /// One more try begins.
    pub(super) fn begin(&mut self, setup: &Setup) -> Result<Settings, String> {
        self.started = Instant::now();
        if setup.bus.tls && self.tls.is_none() {
            let trust = Trust::load(setup.bus.ca.as_deref());
            self.tls = Some(trust.map_err(|fault| fault.message.into_owned())?.config());
        }
        let (client_id, queue, inflight) = match self.mode {
            // More than there can be calls, so that only what is stuck fills it.
            Mode::Sends | Mode::Visits => {
                (&setup.client_id, setup.limits.in_flight + SPARE, INFLIGHT)
            }
            // Nothing but acknowledgements.
            Mode::Receives { .. } => (&setup.inward.client_id, IDENTIFIERS + SPARE, 1),
        };
        Ok(Settings {
            bus: setup.bus.clone(),
            client_id: client_id.clone(),
            tls: self.tls.clone(),
            max_packet: u32::try_from(setup.limits.message + HEADROOM).unwrap_or(u32::MAX),
            queue,
            inflight,
            batch: BATCH,
            keep_alive: KEEP_ALIVE,
            connect_timeout: setup.limits.handshake,
            mode: self.mode,
        })
    }

    /// Waits before the next try, or until the last is over.
    pub(super) async fn pause(&mut self, stop: &CancellationToken) {
        if self.started.elapsed() > GOOD {
            self.backoff.reset();
        }
        tokio::select! {
            () = sleep(self.backoff.next()) => {}
            () = stop.cancelled() => {}
        }
    }
}

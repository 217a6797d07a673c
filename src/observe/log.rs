//! Log lines: which are written, and in which shape.

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};

/// Begins to write. Once per process; later calls change nothing.
pub fn init(log: &Log) -> io::Result<()> {
    let directives = EnvFilter::try_new(&log.level)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let filter = directives.and(filter_fn(is_fit));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer: Box<dyn Layer<_> + Send + Sync> = match log.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Journald => tracing_journald::layer()?.boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .unwrap_or_default();
    Ok(())
}

/// Below info, libraries write whole packets and requests, and so the tokens in them. No level
/// and no directive lets that through.
fn is_fit(line: &Metadata<'_>) -> bool {
    match line.target().split("::").next() {
        Some("callway") => true,
        // It warns of returned messages with all that is in them, and of each lost connection
        // many times over; the link says so once.
        Some("lapin") => false,
        _ => *line.level() <= Level::INFO,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_libraries_say_below_info_stays_unsaid() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_filter(EnvFilter::new("trace,tungstenite=trace").and(filter_fn(is_fit)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "tungstenite::handshake", "Bearer cw_secret");
            tracing::debug!(target: "callwayish", "cw_secret");
            tracing::info!(target: "hyper", "connected");
            tracing::trace!(target: "callway::router", "fine");
        });
        let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!written.contains("cw_secret"), "{written}");
        assert_eq!(written.lines().count(), 2, "{written}");
    }
}

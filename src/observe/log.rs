//! The log: to standard error or the journal, and never with what a client or a broker was told.

use std::io::{self, IsTerminal as _};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterFn, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, fmt};

use crate::config::{Log, LogFormat};

/// The most that the libraries below callway may log. At TRACE several of them write whole
/// requests and packets, credentials included; callway's own modules never do.
const CAP: LevelFilter = LevelFilter::INFO;
/// lapin warns of returned messages with all that is in them, and both warn of a lost connection
/// many times over; the link says so once.
const SILENT: [&str; 2] = ["lapin", "rumqttc"];

/// Takes the log of this process over. A second call changes nothing.
pub fn init(log: &Log) {
    let rust_log = std::env::var("RUST_LOG").unwrap_or_default();
    let (levels, ignored) = Levels::new(&log.level, &rust_log);
    let terminal = io::stderr().is_terminal();
    let lines = || fmt::layer().with_writer(io::stderr).with_ansi(terminal);
    let (layer, lost) = match log.format {
        LogFormat::Text => (lines().boxed(), None),
        LogFormat::Json => {
            let json = fmt::layer().json().flatten_event(true);
            (json.with_writer(io::stderr).boxed(), None)
        }
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(journal) => (journal.boxed(), None),
            Err(error) => (lines().boxed(), Some(error)),
        },
    };
    let registry = Registry::default().with(layer.with_filter(levels.filter()));
    if registry.try_init().is_err() {
        return; // somebody else has it
    }
    if let Some(error) = lost {
        tracing::warn!(%error, "the journal cannot be reached, logging to standard error");
    }
    if ignored {
        tracing::warn!("RUST_LOG is not understood and ignored; write it as callway=debug");
    }
}

/// Who may log how much.
struct Levels {
    wanted: Vec<Targets>,
}

impl Levels {
    /// From `log.level`, which was validated, and `RUST_LOG`, which may add to it. Also whether the
    /// latter made no sense.
    fn new(level: &str, rust_log: &str) -> (Levels, bool) {
        let info = || Targets::new().with_default(LevelFilter::INFO);
        let mut wanted = vec![level.parse().unwrap_or_else(|_| info())];
        let mut ignored = false;
        if !rust_log.is_empty() {
            match rust_log.parse() {
                Ok(targets) => wanted.push(targets),
                Err(_) => ignored = true,
            }
        }
        (Levels { wanted }, ignored)
    }

    fn allows(&self, target: &str, level: Level) -> bool {
        level <= cap(target)
            && self
                .wanted
                .iter()
                .any(|targets| targets.would_enable(target, &level))
    }

    /// The most verbose level that anything may have.
    fn most(&self) -> LevelFilter {
        let named = self.wanted.iter().flat_map(Targets::iter);
        let default = self.wanted.iter().filter_map(Targets::default_level);
        named
            .map(|(_, level)| level)
            .chain(default)
            .max()
            .unwrap_or(LevelFilter::OFF)
    }

    fn filter(self) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
        let most = self.most();
        filter_fn(move |metadata| self.allows(metadata.target(), *metadata.level()))
            .with_max_level_hint(most)
    }
}

fn cap(target: &str) -> LevelFilter {
    match target.split("::").next() {
        Some("callway") => LevelFilter::TRACE,
        Some(name) if SILENT.contains(&name) => LevelFilter::OFF,
        _ => CAP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: [&str; 9] = [
        "tungstenite::protocol::frame",
        "tokio_tungstenite",
        "amq_protocol_types",
        "amq_protocol",
        "tokio_rustls",
        "hyper::proto::h1::io",
        "reqwest::connect",
        "rustls::client::hs",
        "callway_like_name",
    ];

    fn levels(level: &str, rust_log: &str) -> Levels {
        Levels::new(level, rust_log).0
    }

    #[test]
    fn no_setting_makes_a_library_say_more_than_info() {
        for target in DEPENDENCIES {
            for (level, rust_log) in [
                ("trace".to_owned(), String::new()),
                ("trace".to_owned(), "trace".to_owned()),
                (format!("{target}=trace"), format!("{target}=trace")),
                ("info".to_owned(), format!("debug,{target}=trace")),
            ] {
                let levels = levels(&level, &rust_log);
                assert!(!levels.allows(target, Level::TRACE), "{target} {level}");
                assert!(!levels.allows(target, Level::DEBUG), "{target} {level}");
                assert!(levels.allows(target, Level::INFO), "{target} {level}");
            }
        }
    }

    #[test]
    fn the_cap_holds_where_events_pass() {
        let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
        let writer = seen.clone();
        let layer = fmt::layer()
            .with_writer(move || Collector(writer.clone()))
            .with_filter(levels("trace", "trace").filter());
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            tracing::trace!(target: "rumqttc::state", "a password");
            tracing::debug!(target: "tungstenite::handshake", "a token");
            tracing::warn!(target: "lapin::returned", "a token");
            tracing::warn!(target: "rumqttc::lifecycle", "a token");
            tracing::info!(target: "hyper::client", "connected");
            tracing::trace!(target: "callway::link", "detail");
        });
        let seen = String::from_utf8(seen.lock().clone()).unwrap();
        assert!(
            !seen.contains("password") && !seen.contains("token"),
            "{seen}"
        );
        assert!(
            seen.contains("connected") && seen.contains("detail"),
            "{seen}"
        );
    }

    #[test]
    fn rust_log_raises_own_modules_and_lowers_nothing() {
        let levels = levels("info", "callway::link=trace,callway::router=error");
        assert!(levels.allows("callway::link::mqtt", Level::TRACE));
        assert!(!levels.allows("callway::ingress", Level::DEBUG));
        assert!(levels.allows("callway::router", Level::INFO));
        assert_eq!(levels.most(), LevelFilter::TRACE);
        assert!(Levels::new("info", "callway=loud").1);
    }

    struct Collector(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);

    impl io::Write for Collector {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

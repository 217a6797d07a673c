//! The process itself: its name, scripts, administration and log.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `/healthz`, `/readyz`, `/metrics`, `/api`.
    pub address: Option<SocketAddr>,
    /// The socket that commands use.
    pub socket: Option<AdminSocket>,
}

/// `admin.socket`.
#[derive(Clone, Debug)]
pub struct AdminSocket {
    /// Where it is.
    pub path: PathBuf,
    /// Whether somebody asked for it there: then callway does not start without.
    pub required: bool,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// The SQLite database. What else is kept lies beside it.
    pub database: PathBuf,
}

impl Store {
    /// The directory of events and one-way calls that wait.
    pub fn spool(&self) -> PathBuf {
        self.database.with_file_name("spool")
    }
}

/// `[cluster]`.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Unique and stable: part of client ids and of the inbox address.
    pub instance: Arc<str>,
    /// The origin mark of what this group of processes sends.
    pub group: Arc<str>,
}

/// `[scripts]`.
#[derive(Clone, Debug)]
pub struct Scripts {
    /// The directory that script paths are relative to; absolute, links resolved.
    pub directory: PathBuf,
    /// What `http.request` may reach; empty means nothing.
    pub allow_urls: Vec<UrlRule>,
}

/// One entry of `allow_urls`: scheme, host and port exact, the path as a prefix of whole segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlRule(pub Url);

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or tracing's directives.
    pub level: String,
    /// The shape of lines.
    pub format: LogFormat,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// systemd's journal with its fields.
    Journald,
}

//! How commands find the daemon of this machine, and ask it.

use std::path::PathBuf;
use std::process::ExitCode;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::files::{ConfigArgs, tell};
use super::outcome::{exit_code, print_fault};
use super::{CONFIG, UNAVAILABLE};
use crate::client;

/// What stays as it is in a segment of a path (RFC 3986 §3.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Which daemon is meant, and how its answers are printed.
#[derive(Clone, Debug, clap::Args)]
pub struct DaemonArgs {
    /// The daemon's admin socket; without it the one that the configuration names
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl DaemonArgs {
    /// Asks; tells what is wrong if there is no answer, or not the one that was wanted.
    pub(super) async fn ask(
        &self,
        verb: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ExitCode> {
        let socket = self.find()?;
        let answer = client::ask(&socket, verb, path, body).await;
        answer.map_err(|fault| {
            print_fault(&fault, self.json);
            ExitCode::from(exit_code(fault.kind))
        })
    }

    fn find(&self) -> Result<PathBuf, ExitCode> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let configured = self.config.admin_socket().map_err(|error| {
            tell(&error);
            ExitCode::from(CONFIG)
        })?;
        configured.ok_or_else(|| {
            eprintln!(
                "callway: the configuration has no admin.socket, so its daemon takes no orders"
            );
            ExitCode::from(UNAVAILABLE)
        })
    }
}

/// A name as a segment of a path.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

//! `callway run`: the daemon.

use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use super::files::ConfigArgs;
use super::{CONFIG, SOFTWARE, UNAVAILABLE};
use crate::app::{App, StartError};
use crate::config::Config;
use crate::observe;
use crate::signal::{Ended, Signals};

/// What `callway run` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

impl RunArgs {
    /// Runs until signals end it.
    pub fn run(self) -> ExitCode {
        match self.config.load() {
            Ok(config) => run(config, || {}),
            Err(code) => code,
        }
    }
}

/// Runs a daemon until signals end it. `bound` is told when clients can connect.
pub(super) fn run(config: Config, bound: impl FnOnce()) -> ExitCode {
    observe::log(&config.log);
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("callway: cannot start: {error}");
            return ExitCode::from(SOFTWARE);
        }
    };
    let code = runtime.block_on(serve(config, bound));
    end(runtime);
    code
}

async fn serve(config: Config, bound: impl FnOnce()) -> ExitCode {
    // Before anything is started, so that no signal finds callway half-way.
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "cannot take signals");
            return ExitCode::from(SOFTWARE);
        }
    };
    let app = match App::build(config).await {
        Ok(app) => app,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(match error {
                StartError::Bind { .. } => UNAVAILABLE,
                StartError::Tls(_) => CONFIG,
                StartError::HttpClient(_) => SOFTWARE,
            });
        }
    };
    bound();
    match signals.run(app).await {
        Ended::Drained => ExitCode::SUCCESS,
        Ended::AtOnce => ExitCode::FAILURE,
    }
}

/// Whatever still runs ends with the process.
fn end(runtime: Runtime) {
    runtime.shutdown_background();
}

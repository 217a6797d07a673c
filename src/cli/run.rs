//! `callway run`: the daemon.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
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
            Ok(config) => run(config),
            Err(code) => code,
        }
    }
}

/// Runs a daemon until signals end it.
fn run(config: Config) -> ExitCode {
    in_runtime(config, App::build, |_| {})
}

/// The same where nothing need keep its address: each that is taken is replaced by a free port of
/// this machine. `bound` is told where the first listener is when clients can connect.
pub(super) fn run_somewhere(config: Config, bound: impl FnOnce(&[SocketAddr])) -> ExitCode {
    in_runtime(config, build_somewhere, bound)
}

fn in_runtime<F: Future<Output = Result<App, StartError>>>(
    config: Config,
    build: impl FnOnce(Config) -> F,
    bound: impl FnOnce(&[SocketAddr]),
) -> ExitCode {
    observe::log(&config.log);
    let threads = threads(std::thread::available_parallelism());
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("callway: cannot start: {error}");
            return ExitCode::from(SOFTWARE);
        }
    };
    let code = runtime.block_on(async {
        // Before anything is started, so that no signal finds callway half-way.
        let signals = match Signals::take() {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!(%error, "cannot take signals");
                return ExitCode::from(SOFTWARE);
            }
        };
        match build(config).await {
            Ok(app) => serve(app, signals, bound).await,
            Err(error) => {
                tracing::error!("{error}");
                ExitCode::from(match error {
                    StartError::Bind { .. }
                    | StartError::Socket { .. }
                    | StartError::Store(_)
                    | StartError::Spool(_) => UNAVAILABLE,
                    StartError::Tls(_) => CONFIG,
                    StartError::HttpClient(_) => SOFTWARE,
                })
            }
        }
    });
    end(runtime);
    code
}

/// How many threads share the daemon's work: half of what the machine has. A call is little work
/// and is handed on at once, so a second thread costs more in being woken than it takes off the
/// first; and script hosts and brokers are often on the same machine.
fn threads(machine: io::Result<NonZeroUsize>) -> usize {
    machine.map_or(1, |processors| processors.get().div_ceil(2))
}

/// Only binding tells for sure that an address is free, so one after the other is given up.
async fn build_somewhere(mut config: Config) -> Result<App, StartError> {
    loop {
        let address = match App::build(config.clone()).await {
            Err(StartError::Bind { address, .. }) if address.port() != 0 => address,
            built => return built,
        };
        let listeners = config
            .listeners
            .iter_mut()
            .map(|listen| &mut listen.address);
        for taken in listeners.chain(&mut config.admin.address) {
            if *taken == address {
                taken.set_port(0);
            }
        }
    }
}

async fn serve(app: App, signals: Signals, bound: impl FnOnce(&[SocketAddr])) -> ExitCode {
    bound(&app.addresses());
    match signals.run(app).await {
        Ended::Drained => ExitCode::SUCCESS,
        Ended::AtOnce => ExitCode::FAILURE,
    }
}

/// Whatever still runs ends with the process.
fn end(runtime: Runtime) {
    runtime.shutdown_background();
}

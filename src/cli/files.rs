//! Which configuration the commands read, and how its errors are told.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::CONFIG;
use crate::config::{self, ADMIN_SOCKET, Config, Environment, LoadError};

/// Where the configuration is looked for when nothing else is said.
const DEFAULT: &str = "/etc/callway/callway.toml";

/// The files of the configuration.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// A configuration file; repeatable, later ones add to earlier ones. What lies in conf.d/*.toml
    /// beside it follows. Without it: $CALLWAY_CONFIG, else /etc/callway/callway.toml
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl ConfigArgs {
    /// Reads the configuration; tells what is wrong with it, if so.
    pub fn load(&self) -> Result<Config, ExitCode> {
        self.read().map_err(|error| {
            tell(&error);
            ExitCode::from(CONFIG)
        })
    }

    /// Reads the configuration.
    pub fn read(&self) -> Result<Config, LoadError> {
        config::load(&self.files(), &environment())
    }

    /// Where the daemon of this configuration has its admin socket, if it has one. Where nothing is
    /// configured, it is where it usually is.
    pub fn admin_socket(&self) -> Result<Option<PathBuf>, LoadError> {
        let files = self.files();
        match config::admin_socket(&files, &environment()) {
            Err(LoadError::Missing(path)) if path == Path::new(DEFAULT) => {
                Ok(Some(ADMIN_SOCKET.into()))
            }
            other => other,
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match (&self.files[..], std::env::var_os("CALLWAY_CONFIG")) {
            ([], None) => vec![PathBuf::from(DEFAULT)],
            ([], Some(file)) => vec![file.into()],
            (files, _) => files.to_vec(),
        }
    }
}

/// The variables that are text; no other can hold a value.
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Prints an error for people.
pub fn tell(error: &LoadError) {
    match error {
        LoadError::Invalid(errors) => {
            eprintln!("{}", errors.render(std::io::stderr().is_terminal()));
        }
        other => eprintln!("callway: {other}"),
    }
}

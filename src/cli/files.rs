//! Which configuration the commands read, and how its errors are told.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::CONFIG;
use crate::config::{self, Config, Environment, LoadError};

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
        let files = match (&self.files[..], std::env::var_os("CALLWAY_CONFIG")) {
            ([], None) => vec![PathBuf::from(DEFAULT)],
            ([], Some(file)) => vec![file.into()],
            (files, _) => files.to_vec(),
        };
        config::load(&files, &environment())
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

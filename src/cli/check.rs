//! `callway check`: reads the configuration as `run` does, and says what is wrong with it.

mod live;

use std::process::ExitCode;

use serde_json::{Value, json};

use super::files::{ConfigArgs, tell};
use super::{CONFIG, SOFTWARE, UNAVAILABLE};
use crate::config::{Config, LoadError};

/// What `callway check` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// Also connect to each bus, and say what works there; changes nothing
    #[arg(long)]
    live: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl CheckArgs {
    /// Checks; nothing is changed anywhere.
    pub fn run(self) -> ExitCode {
        let config = match self.config.read() {
            Ok(config) => config,
            Err(error) => {
                match self.json {
                    true => println!("{}", refusal(&error)),
                    false => tell(&error),
                }
                return ExitCode::from(CONFIG);
            }
        };
        if !self.live {
            match self.json {
                true => println!("{}", json!({ "valid": true, "errors": [] })),
                false => println!("{}", summary(&config)),
            }
            return ExitCode::SUCCESS;
        }
        let findings = match live::look(&config) {
            Ok(findings) => findings,
            Err(error) => {
                eprintln!("callway: cannot start: {error}");
                return ExitCode::from(SOFTWARE);
            }
        };
        if self.json {
            let findings: Vec<_> = findings.iter().map(live::Found::to_json).collect();
            println!(
                "{}",
                json!({ "valid": true, "errors": [], "buses": findings })
            );
        } else {
            println!("{}", summary(&config));
            findings.iter().for_each(|found| println!("{found}"));
        }
        match findings.iter().all(|found| found.works.is_ok()) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(UNAVAILABLE),
        }
    }
}

fn summary(config: &Config) -> String {
    let count = |number: usize, noun: &str| match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    };
    let buses = match config.buses.len() {
        1 => "1 bus".to_owned(),
        number => format!("{number} buses"),
    };
    format!(
        "the configuration is right: {}, {buses}, {}, {}",
        count(config.listeners.len(), "listener"),
        count(config.tokens.len(), "token"),
        count(config.routes.len(), "route"),
    )
}

fn refusal(error: &LoadError) -> Value {
    let errors = match error {
        LoadError::Invalid(errors) => errors.to_json(),
        other => json!([{ "message": other.to_string() }]),
    };
    json!({ "valid": false, "errors": errors })
}

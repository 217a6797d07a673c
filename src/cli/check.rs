//! `callway check`: reads the configuration as `run` does, and says what is wrong with it.

mod live;

use std::process::ExitCode;

use serde_json::{Value, json};

use super::files::{ConfigArgs, tell};
use super::output::print;
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
                let code = ExitCode::from(CONFIG);
                if self.json {
                    return print(format_args!("{}\n", refusal(&error)), code);
                }
                tell(&error);
                return code;
            }
        };
        if !self.live {
            let text = match self.json {
                true => json!({ "valid": true, "errors": [] }).to_string(),
                false => summary(&config),
            };
            return print(format_args!("{text}\n"), ExitCode::SUCCESS);
        }
        let findings = match live::look(&config) {
            Ok(findings) => findings,
            Err(error) => {
                eprintln!("callway: cannot start: {error}");
                return ExitCode::from(SOFTWARE);
            }
        };
        let code = match findings.iter().all(|found| found.works.is_ok()) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(UNAVAILABLE),
        };
        let text = if self.json {
            let findings: Vec<_> = findings.iter().map(live::Found::to_json).collect();
            json!({ "valid": true, "errors": [], "buses": findings }).to_string()
        } else {
            let lines = findings.iter().map(|found| format!("\n{found}"));
            lines.fold(summary(&config), |text, line| text + &line)
        };
        print(format_args!("{text}\n"), code)
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
    let services = match config.services.len() {
        0 => String::new(),
        number => format!(", {}", count(number, "service")),
    };
    format!(
        "the configuration is right: {}, {buses}, {}, {}{services}",
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

//! `callway completions`: what shells complete.

use std::process::ExitCode;

use clap_complete::{Shell, generate};

use super::output::print;

/// What `callway completions` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script.
    pub fn run(&self, command: &mut clap::Command) -> ExitCode {
        // Into memory first, where writing cannot fail.
        let mut script = Vec::new();
        generate(self.shell, command, "callway", &mut script);
        print(String::from_utf8_lossy(&script), ExitCode::SUCCESS)
    }
}

//! `callway completions`: what shells complete.

use std::io;
use std::process::ExitCode;

use clap_complete::{Shell, generate};

/// What `callway completions` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script.
    pub fn run(&self, command: &mut clap::Command) -> ExitCode {
        generate(self.shell, command, "callway", &mut io::stdout());
        ExitCode::SUCCESS
    }
}

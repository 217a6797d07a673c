//! `callway config`: the commented default, and the schema of every key.

use std::process::ExitCode;

use super::output::print;
use crate::config;

/// What `callway config` is given.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Copy, Debug, clap::Subcommand)]
enum What {
    /// Print a configuration with every key, to start from
    Default,
    /// Print the JSON Schema of the configuration, for editors
    Schema,
}

impl ShowArgs {
    /// Prints it.
    pub fn run(&self) -> ExitCode {
        let text = match self.what {
            What::Default => config::DEFAULT.to_owned(),
            What::Schema => format!("{:#}\n", config::schema()),
        };
        print(text, ExitCode::SUCCESS)
    }
}

//! Where a client command takes its token from.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::auth::Secret;
use crate::client::Trust;

/// The longest token that is read.
const LONGEST: u64 = 16 * 1024;
/// The variable that holds a token.
pub const VARIABLE: &str = "CALLWAY_TOKEN";

/// The options that name a token.
#[derive(Clone, Debug, clap::Args)]
pub struct TokenArgs {
    /// Read the token from this file, or from standard input with `-`
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// The token itself. WARNING: it shows in process lists and in the shell's history; prefer
    /// --token-file or the variable CALLWAY_TOKEN
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file", value_parser = secret)]
    token: Option<Secret>,
}

impl TokenArgs {
    /// Whether the token comes from standard input.
    pub fn reads_stdin(&self) -> bool {
        self.token_file
            .as_deref()
            .is_some_and(|path| path.as_os_str() == "-")
    }

    /// The token, if there is one: from an option, else from the environment.
    pub fn read(&self) -> Result<Option<Secret>, String> {
        if let Some(token) = &self.token {
            return Ok(Some(token.clone()));
        }
        if let Some(path) = &self.token_file {
            let mut text = String::new();
            let read = if self.reads_stdin() {
                std::io::stdin().take(LONGEST).read_to_string(&mut text)
            } else {
                std::fs::File::open(path)
                    .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
            };
            read.map_err(|error| format!("--token-file {}: {error}", path.display()))?;
            return match text.trim() {
                "" => Err(format!(
                    "--token-file {}: there is no token in it",
                    path.display()
                )),
                token => Ok(Some(Secret::new(token))),
            };
        }
        let token = std::env::var(VARIABLE).unwrap_or_default();
        let token = token.trim();
        Ok((!token.is_empty()).then(|| Secret::new(token)))
    }
}

/// Whose certificates are believed, for `--ca`.
pub fn load_trust(ca: Option<&Path>) -> Result<Trust, String> {
    Trust::load(ca).map_err(|fault| format!("--ca: {}", fault.message))
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

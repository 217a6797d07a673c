//! Standard output that somebody may have stopped reading, as `| head` does.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// Prints this, and ends with `code`, or with 1 if nobody reads any more.
pub(super) fn print(text: impl Display, code: ExitCode) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

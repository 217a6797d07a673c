//! How the outcome of a call is shown, and what it makes of the exit code.

use std::io::{self, IsTerminal as _, Write as _};

use crate::call::{Fault, Kind, Payload};

use super::pretty::pretty;

/// Prints a result: indented for people, as it came for programs.
pub fn print_result(result: &Payload, raw: bool) -> io::Result<()> {
    let text = result.as_json();
    let mut stdout = io::stdout().lock();
    if raw || !stdout.is_terminal() {
        writeln!(stdout, "{text}")
    } else {
        writeln!(stdout, "{}", pretty(&text))
    }
}

/// Prints a fault to standard error.
pub fn print_fault(fault: &Fault, json: bool) {
    if json {
        eprintln!("{}", String::from_utf8_lossy(&fault.to_json()));
        return;
    }
    let call = fault
        .call_id
        .map(|id| format!(" (call {id})"))
        .unwrap_or_default();
    eprintln!("callway: {}: {}{call}", fault.kind, fault.message);
    if let Some(data) = &fault.data {
        eprintln!("  data: {}", String::from_utf8_lossy(data));
    }
    if let Some(seconds) = fault.retry_after_secs() {
        eprintln!("  trying again may help in {seconds} s");
    }
}

/// Whether connecting again may help.
pub fn worth_another_try(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Unavailable | Kind::Timeout | Kind::Overloaded | Kind::ShuttingDown
    )
}

/// The exit code for a failed call, after `sysexits.h`.
pub fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::ParseError | Kind::InvalidRequest | Kind::InvalidParams => 65,
        Kind::Unavailable | Kind::NoResponder => 69,
        Kind::Internal => 70,
        Kind::Timeout | Kind::Overloaded | Kind::ShuttingDown => 75,
        Kind::Unauthenticated | Kind::Forbidden => 77,
        Kind::MethodNotFound
        | Kind::TooLarge
        | Kind::ScriptError
        | Kind::ScriptLimit
        | Kind::TargetError
        | Kind::Cancelled => 1,
    }
}

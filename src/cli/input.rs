//! What a command is given to send: on the command line, from a file, or on standard input.

use std::io::Read as _;

/// The most that is read; the daemon's own limit is usually lower.
const MOST: u64 = 64 * 1024 * 1024;

/// The text itself; what `@FILE` holds; or all of standard input for `-`.
pub(super) fn read(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    if text == "-" {
        let read = std::io::stdin().take(MOST).read_to_end(&mut bytes);
        read.map_err(|error| format!("standard input: {error}"))?;
    } else if let Some(path) = text.strip_prefix('@') {
        let file = std::fs::File::open(path);
        let read = file.and_then(|file| file.take(MOST).read_to_end(&mut bytes));
        read.map_err(|error| format!("{path}: {error}"))?;
    } else {
        bytes.extend_from_slice(text.as_bytes());
    }
    Ok(bytes)
}

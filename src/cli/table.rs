//! Tables for people: columns aligned, headings bold on a terminal, and nothing in a cell that a
//! terminal could take for an order.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use serde_json::Value;

/// A table with a line for its headings.
pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(plain)).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default().max(head[column].len())
    });
    let mut text = bold(&line(&head, &widths));
    for row in &rows {
        text.push_str(&line(row, &widths));
        text.push('\n');
    }
    text
}

/// Bold on a terminal; with a line end.
fn bold(line: &str) -> String {
    match io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => format!("\x1b[1m{line}\x1b[0m\n"),
        false => format!("{line}\n"),
    }
}

fn line(cells: &[impl AsRef<str>], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        // Writing to a String cannot fail.
        write!(line, "{:width$}  ", cell.as_ref()).unwrap_or_default();
    }
    line.truncate(line.trim_end().len());
    line
}

/// A text on one line, control characters shown as what they are. Names, reasons and bodies come
/// from strangers.
pub(super) fn plain(text: String) -> String {
    match text.contains(char::is_control) {
        false => text,
        true => text.chars().map(visible).collect(),
    }
}

fn visible(character: char) -> String {
    match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    }
}

/// The text under a key of an answer.
pub(super) fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The time under a key, without its milliseconds.
pub(super) fn time(value: &Value, key: &str) -> String {
    let time = text(value, key);
    match time.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_has_no_end() {
        let rows = [["a/{rest...}", "x"], ["ü", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(
            table(["NAME", "WHERE"], rows),
            "NAME         WHERE\na/{rest...}  x\nü\n"
        );
    }

    #[test]
    fn a_stranger_s_text_gives_the_terminal_no_orders() {
        let shown = plain("\x1b[2J\u{9b}2Jgone\n".to_owned());
        assert_eq!(shown, "\\u{1b}[2J\\u{9b}2Jgone\\n");
    }
}

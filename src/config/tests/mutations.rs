//! Every key of the commented default, spoiled in several ways: each time the message names file,
//! line, column and key.

use super::defaults::{Site, uncommented};

/// A line that sets a key: its number from 1, the key and its value.
fn settings(text: &str) -> Vec<(usize, &str, &str)> {
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let (key, value) = line.split_once(" = ")?;
            let is_key = key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
            is_key.then_some((index + 1, key, value))
        })
        .collect()
}

fn with_line(text: &str, number: usize, line: &str) -> String {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(index, old)| if index + 1 == number { line } else { old });
    lines.collect::<Vec<_>>().join("\n")
}

/// The same letters, the last two the other way round; or one letter more if that changes nothing.
fn swapped(key: &str) -> String {
    let (head, tail) = key.split_at(key.len() - 2);
    let other: String = tail.chars().rev().collect();
    if key.len() < 4 || other == tail {
        return format!("{key}x");
    }
    format!("{head}{other}")
}

/// A value of another type than any that this key takes.
fn of_wrong_type(value: &str) -> &'static str {
    match value.as_bytes()[0] {
        b'"' => "7.5",
        b'[' | b'{' => "\"text\"",
        b't' | b'f' => "\"yes\"",
        _ => "[\"seven\"]",
    }
}

#[test]
fn each_spoiled_file_is_refused_with_its_place() {
    let site = Site::new();
    let text = uncommented();
    let mut count = 0;
    let mut wrong = Vec::new();
    let mut refused = |text: String, place: (usize, usize), words: &[&str]| {
        count += 1;
        let found = site.problems(&text);
        let start = format!("{}:{}:{}: ", site.file().display(), place.0, place.1);
        let fits = |line: &String| {
            line.strip_prefix(&start)
                .is_some_and(|message| words.iter().all(|word| message.contains(word)))
        };
        if !found.iter().any(fits) {
            wrong.push(format!("wanted {start}{words:?}, found {found:#?}"));
        }
    };
    for (number, key, value) in settings(&text) {
        let column = key.len() + " = ".len() + 1;
        let near = format!("did you mean `{key}`");
        for misspelled in [swapped(key), format!("{key}e"), format!("x{key}")] {
            let unknown = format!("unknown key `{misspelled}`");
            let line = format!("{misspelled} = {value}");
            refused(
                with_line(&text, number, &line),
                (number, 1),
                &[&unknown, &near],
            );
        }
        let line = format!("{key} = {}", of_wrong_type(value));
        refused(with_line(&text, number, &line), (number, column), &[key]);
        let line = format!("{key} = {value}\n{key} = {value}");
        refused(
            with_line(&text, number, &line),
            (number + 1, 1),
            &["duplicate"],
        );
        let line = format!("{key} = ");
        refused(with_line(&text, number, &line), (number, column), &[]);
    }
    assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
    assert!(count >= 400, "{count} files");
}

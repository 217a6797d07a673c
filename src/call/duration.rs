//! Durations as people write them: `"500ms"`, `"5s"`, `"2m"`, `"1h"`, `"90d"`.

use std::time::Duration;

/// Units and their milliseconds; `ms` before `m` and `s`.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a duration; says what is wrong if it is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = UNITS
        .iter()
        .find(|(unit, _)| *unit == &text[digits.len()..]);
    let number = digits.parse::<u64>().ok();
    match unit.zip(number) {
        Some(((_, ms), number)) => number
            .checked_mul(*ms)
            .map(Duration::from_millis)
            .ok_or_else(|| format!("{text:?} is too long")),
        None => Err(format!(
            "{text:?} is not a duration; write it as \"500ms\", \"5s\", \"2m\", \"1h\" or \"90d\""
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("2m", 120_000),
            ("90d", 7_776_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)));
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1.5s",
            "5S",
            "5w",
            "99999999999999999999d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("18446744073709551615d").is_err());
    }
}

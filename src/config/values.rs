//! How single values are written: durations, sizes, rates, and the typed texts of the environment.

use std::time::Duration;

use super::Rate;
use super::node::{Node, Value};
use crate::call::parse_duration;

/// Longer than anything here can be meant to last.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// `"500ms"`, `"5s"`, `"2m"`, `"1h"`, `"90d"`; a year at most.
pub fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        duration if duration > LONGEST => Err(format!("{text:?} is longer than a year")),
        duration => Ok(duration),
    }
}

/// `"64KiB"`, `"1MiB"`, `"1GiB"`, `"100B"`.
pub fn size(text: &str) -> Result<usize, String> {
    let wrong =
        || format!("{text:?} is not a size; write \"100B\", \"64KiB\", \"1MiB\" or \"1GiB\"");
    let (count, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    count
        .checked_mul(bytes)
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(wrong)
}

/// `"100/s"`, `"20/m"`, `"5/h"`.
pub fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("{text:?} is not a rate; write \"100/s\", \"20/m\" or \"5/h\"");
    let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count
        .parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    Ok(Rate {
        count,
        period: Duration::from_secs(seconds),
    })
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit))
}

/// The integer in a node; texts of the environment are read as one.
pub fn integer(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Integer(number) => Some(*number),
        Value::Untyped(text) => text.parse().ok(),
        _ => None,
    }
}

/// The truth value in a node; texts of the environment are read as one.
pub fn bool(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Bool(flag) => Some(*flag),
        Value::Untyped(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(
            rate("20/m"),
            Ok(Rate {
                count: 20,
                period: Duration::from_secs(60)
            })
        );
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for text in [
            "5",
            "s",
            "",
            "1.5s",
            "-1s",
            "5 s",
            "5S",
            "99999999999999999999d",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["64", "64kb", "KiB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["0/s", "100", "/s", "1/day"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}

//! Places in channels, as clients remember them.

use std::fmt;
use std::str::FromStr;

/// Where an event stands in its channel: `<epoch>:<seq>`. Within an epoch nothing between two
/// places is lost without being noticed; places of different epochs say nothing about each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Changes whenever events may have been lost.
    pub epoch: u64,
    /// Grows by one with each event of a channel that has a history.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{}", self.epoch, self.seq)
    }
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is what callway said before, such as \"6f1c0a:17\"")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Position, NoPosition> {
        let (epoch, seq) = text.split_once(':').ok_or(NoPosition)?;
        let position = Position {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| NoPosition)?,
            seq: seq.parse().map_err(|_| NoPosition)?,
        };
        // One way to write each, so that signs and leading zeros are none.
        (position.to_string() == text)
            .then_some(position)
            .ok_or(NoPosition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_said_is_understood() {
        for text in [
            "",
            ":",
            "1:",
            ":1",
            "x:1",
            "1:x",
            "1:-1",
            "+1:1",
            "01:1",
            "A:1",
            "1:1:1",
            " 1:1",
            "1:99999999999999999999",
        ] {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text}");
        }
        let position = Position {
            epoch: 0xfeed,
            seq: u64::MAX,
        };
        assert_eq!(position.to_string().parse(), Ok(position));
    }
}

//! Patterns over names: `pumps/{pump}/{verb}`, `tutorials/{path...}`.

use std::fmt;
use std::sync::Arc;

use super::name;

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Literal(Box<str>),
    /// `{name}`: exactly one segment.
    One(Arc<str>),
    /// `{name...}`: one or more segments, at the end.
    Rest(Arc<str>),
}

/// A pattern over names.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Arc<str>,
    segments: Vec<Segment>,
}

/// Two patterns are equal if they take the same names, whatever their captures are called.
impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.covers(other) && other.covers(self)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Reads a pattern. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        if text.is_empty() || text.len() > name::MAX_NAME {
            return Err(format!("a pattern has 1 to {} bytes", name::MAX_NAME));
        }
        if name::is_reserved(text) {
            return Err("names that begin callway. or rpc. are reserved".into());
        }
        let count = text.split('/').count();
        let mut segments = Vec::with_capacity(count);
        for (index, part) in text.split('/').enumerate() {
            let segment = parse_segment(part)?;
            if matches!(segment, Segment::Rest(_)) && index + 1 != count {
                return Err(format!("{part} may only stand at the end"));
            }
            if let Segment::One(capture) | Segment::Rest(capture) = &segment {
                let twice = segments.iter().any(|other| {
                    matches!(other, Segment::One(name) | Segment::Rest(name) if name == capture)
                });
                if twice {
                    return Err(format!("the capture {{{capture}}} stands twice"));
                }
            }
            segments.push(segment);
        }
        Ok(Pattern {
            text: text.into(),
            segments,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text, shared.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Its parts.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of its captures, from the left.
    pub fn capture_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::One(name) | Segment::Rest(name) => Some(name),
        })
    }

    /// The one name that it takes, if it has no captures.
    pub fn literal(&self) -> Option<&str> {
        self.capture_names().next().is_none().then_some(&*self.text)
    }

    /// Whether it takes this name.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = name.split('/');
        for segment in &self.segments {
            match (segment, parts.next()) {
                (Segment::Rest(_), Some(_)) => return true,
                (Segment::One(_), Some(_)) => {}
                (Segment::Literal(text), Some(part)) if **text == *part => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }

    /// Whether it takes every name that `other` takes.
    pub fn covers(&self, other: &Pattern) -> bool {
        let mut theirs = other.segments.iter();
        for segment in &self.segments {
            match (segment, theirs.next()) {
                (Segment::Rest(_), Some(_)) => return true,
                (Segment::One(_), Some(Segment::Literal(_) | Segment::One(_))) => {}
                (Segment::Literal(mine), Some(Segment::Literal(text))) if mine == text => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// What it captures from a name that it takes.
    pub fn captures(&self, name: &str) -> Captures {
        let mut values = Vec::new();
        let mut rest = name;
        for segment in &self.segments {
            let (part, after) = rest.split_once('/').unwrap_or((rest, ""));
            match segment {
                Segment::Literal(_) => {}
                Segment::One(capture) => values.push((capture.clone(), part.into())),
                Segment::Rest(capture) => values.push((capture.clone(), rest.into())),
            }
            rest = after;
        }
        Captures(values)
    }
}

fn parse_segment(part: &str) -> Result<Segment, String> {
    let Some(inner) = part.strip_prefix('{') else {
        name::check_segment(part)?;
        return Ok(Segment::Literal(part.into()));
    };
    let inner = inner
        .strip_suffix('}')
        .ok_or_else(|| format!("{part} does not end with }}; a capture fills its whole segment"))?;
    let (capture, rest) = match inner.strip_suffix("...") {
        Some(capture) => (capture, true),
        None => (inner, false),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if capture.is_empty() || !capture.chars().all(fits) {
        return Err(format!(
            "{part} is not a capture; its name has letters, digits and _"
        ));
    }
    Ok(if rest {
        Segment::Rest(capture.into())
    } else {
        Segment::One(capture.into())
    })
}

/// What a pattern captured from a name, in the order of the pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures(Vec<(Arc<str>, Box<str>)>);

impl Captures {
    /// Captures that were not made by a pattern.
    pub fn of<const N: usize>(values: [(&str, &str); N]) -> Captures {
        Captures(
            values
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        )
    }

    /// The text that this capture took.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(capture, _)| **capture == *name)
            .map(|(_, value)| &**value)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn captures_come_out_in_order() {
        let captures = pattern("pumps/{pump}/{verb...}").captures("pumps/7/start/now");
        assert_eq!(captures.get("pump"), Some("7"));
        assert_eq!(captures.get("verb"), Some("start/now"));
    }

    #[test]
    fn matching_takes_whole_segments() {
        assert!(pattern("a/{b}").matches("a/x"));
        assert!(!pattern("a/{b}").matches("a"));
        assert!(!pattern("a/{b}").matches("a/x/y"));
        assert!(pattern("a/{b...}").matches("a/x/y"));
        assert!(!pattern("a/{b...}").matches("a"));
    }

    #[test]
    fn covering_is_about_every_name() {
        assert!(pattern("{all...}").covers(&pattern("a/{b...}")));
        assert!(pattern("a/{x}").covers(&pattern("a/b")));
        assert!(!pattern("a/b").covers(&pattern("a/{x}")));
        assert!(!pattern("a/{x}").covers(&pattern("a/{x...}")));
        assert_eq!(pattern("a/{x}"), pattern("a/{y}"));
    }

    #[test]
    fn broken_patterns_are_refused() {
        for broken in [
            "",
            "/a",
            "a//b",
            "a/{x...}/b",
            "a/{x",
            "a/{}",
            "a/b{x}",
            "a/+",
            "{x}/{x}",
            "a/..",
        ] {
            assert!(Pattern::parse(broken).is_err(), "{broken}");
        }
    }
}

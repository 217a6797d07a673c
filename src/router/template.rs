//! Texts with captures in them: topics, routing keys, script paths, URLs.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::pattern::{Captures, Pattern, Segment};
use crate::call::{Fault, Kind};

/// Everything but the unreserved characters of RFC 3986 §2.3.
const URL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where an expanded template is used, which decides what a captured text may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An MQTT topic: no `+`, `#` or NUL.
    Topic,
    /// An AMQP routing key: no `.`, `*` or `#`.
    RoutingKey,
    /// A file path below a directory: no `..`, `\` or NUL.
    Path,
    /// A URL: percent-encoded, `/` between segments kept.
    Url,
    /// A method or channel name: a capture is part of one already.
    Name,
}

/// A text with captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Capture(String),
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Template {
    /// Reads a template. `{name}` stands for a capture, also for one of several segments.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (capture, after) = after
                .split_once('}')
                .ok_or_else(|| format!("{text:?}: a {{ without its }}"))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.into()));
            }
            parts.push(Part::Capture(capture.trim_end_matches("...").into()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(format!("{text:?}: a }} without its {{"));
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.into()));
        }
        Ok(Template {
            text: text.into(),
            parts,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The captures it needs.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Capture(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// Refuses a template with a capture that the pattern does not make.
    pub fn check_against(&self, pattern: &Pattern) -> Result<(), String> {
        for name in self.captures() {
            if !pattern.capture_names().any(|capture| **capture == *name) {
                return Err(format!("{{{name}}} is not a capture of {pattern}"));
            }
        }
        Ok(())
    }

    /// The text with `wildcard` in place of every capture.
    pub fn with_wildcard(&self, wildcard: &str) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Capture(_) => wildcard,
            })
            .collect()
    }

    /// The MQTT topic filter, or the like with another separator, that takes in whatever may come
    /// of it: `+` where a capture of one segment stands, `#` from one of several segments on.
    pub fn filter(&self, pattern: &Pattern, separator: char) -> String {
        let is_rest = |capture: &str| {
            let last = pattern.segments().last();
            matches!(last, Some(Segment::Rest(name)) if **name == *capture)
        };
        let mut marked = String::new();
        for part in &self.parts {
            marked.push_str(match part {
                Part::Literal(text) => text,
                Part::Capture(name) if is_rest(name) => "#",
                Part::Capture(_) => "+",
            });
        }
        // A wildcard fills its whole level.
        let mut levels = Vec::new();
        for level in marked.split(separator) {
            if level.contains('#') {
                levels.push("#");
                break;
            }
            levels.push(if level.contains('+') { "+" } else { level });
        }
        levels.join(&separator.to_string())
    }

    /// Puts the captured texts in. `invalid_request` if one may not stand in that place.
    pub fn expand(&self, captures: &Captures, place: Place) -> Result<String, Fault> {
        let mut text = String::with_capacity(self.text.len() + 16);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Capture(name) => {
                    // A missing capture is refused when the configuration is read.
                    place.push(&mut text, captures.get(name).unwrap_or_default())?;
                }
            }
        }
        Ok(text)
    }
}

impl Place {
    fn push(self, text: &mut String, value: &str) -> Result<(), Fault> {
        let refused = match self {
            Place::Topic => value.find(['+', '#', '\0']).is_some(),
            Place::RoutingKey => value.find(['.', '*', '#']).is_some(),
            Place::Path => {
                value.split('/').any(|s| s == "..") || value.find(['\\', '\0']).is_some()
            }
            Place::Url | Place::Name => false,
        };
        if refused {
            return Err(Fault::new(
                Kind::InvalidRequest,
                format!(
                    "{value:?} in the method name cannot stand in {}",
                    self.noun()
                ),
            ));
        }
        if self == Place::Url {
            let segments: Vec<_> = value
                .split('/')
                .map(|s| utf8_percent_encode(s, URL).to_string())
                .collect();
            text.push_str(&segments.join("/"));
        } else {
            text.push_str(value);
        }
        Ok(())
    }

    fn noun(self) -> &'static str {
        match self {
            Place::Topic => "an MQTT topic",
            Place::RoutingKey => "an AMQP routing key",
            Place::Path => "a script path",
            Place::Url => "a URL",
            Place::Name => "a name",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, name: &str, place: Place) -> Result<String, Kind> {
        let captures = Pattern::parse("m/{x...}").unwrap().captures(name);
        Template::parse(template)
            .unwrap()
            .expand(&captures, place)
            .map_err(|fault| fault.kind)
    }

    #[test]
    fn captured_text_injects_nothing() {
        assert_eq!(
            expand("t/{x}/rpc", "m/7", Place::Topic).as_deref(),
            Ok("t/7/rpc")
        );
        assert_eq!(
            expand("t/{x}", "m/a+b", Place::Topic),
            Err(Kind::InvalidRequest)
        );
        assert_eq!(
            expand("k.{x}", "m/a.b", Place::RoutingKey),
            Err(Kind::InvalidRequest)
        );
        assert_eq!(
            expand("{x}.js", "m/../etc", Place::Path),
            Err(Kind::InvalidRequest)
        );
        assert_eq!(
            expand("http://h/{x}", "m/a b/c?d#e%2f", Place::Url).as_deref(),
            Ok("http://h/a%20b/c%3Fd%23e%252f")
        );
    }

    #[test]
    fn a_filter_takes_in_whatever_may_come_of_it() {
        let pattern = Pattern::parse("pumps/{pump}/{path...}").unwrap();
        let filter = |text, separator| Template::parse(text).unwrap().filter(&pattern, separator);
        assert_eq!(filter("p/{pump}/rpc", '/'), "p/+/rpc");
        assert_eq!(filter("p/no-{pump}/rpc", '/'), "p/+/rpc");
        assert_eq!(filter("p/{path}", '/'), "p/#");
        assert_eq!(filter("p/{path}/rpc", '/'), "p/#");
        assert_eq!(filter("p.{pump}.{path}.x", '.'), "p.+.#");
        assert_eq!(filter("p/x", '/'), "p/x");
    }

    #[test]
    fn unknown_captures_are_found_at_load() {
        let pattern = Pattern::parse("a/{b}").unwrap();
        assert!(
            Template::parse("t/{b}")
                .unwrap()
                .check_against(&pattern)
                .is_ok()
        );
        assert!(
            Template::parse("t/{c}")
                .unwrap()
                .check_against(&pattern)
                .is_err()
        );
        assert!(Template::parse("t/{c").is_err());
        assert!(Template::parse("t/c}").is_err());
    }
}

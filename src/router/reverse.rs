//! From a topic or a routing key back to the name that it stands for.

use super::pattern::{Pattern, Segment};
use super::template::{Place, Template};

/// The way back through a template. Each capture fills one level of it, or several at the end.
#[derive(Clone, Debug)]
pub struct Reverse {
    /// Takes topics, or keys with `/` in place of their separator.
    levels: Pattern,
    name: Template,
    separator: char,
}

impl Reverse {
    /// The way from what `template` makes of a name back to the name, which `pattern` takes.
    ///
    /// The error says why there is none.
    pub fn new(pattern: &Pattern, template: &Template, separator: char) -> Result<Reverse, String> {
        for capture in pattern.capture_names() {
            let times = template.captures().filter(|name| *name == &**capture);
            if times.count() != 1 {
                return Err(format!(
                    "to tell the channel from it, {{{capture}}} must stand in it once"
                ));
            }
        }
        let text = template.as_str();
        if separator != '/' && text.contains('/') {
            return Err(format!(
                "it is made of levels with {separator:?} between them"
            ));
        }
        let rest = pattern.segments().last().and_then(|segment| match segment {
            Segment::Rest(name) => Some(name),
            _ => None,
        });
        let mut levels = text.replace(separator, "/");
        if let Some(rest) = rest {
            levels = levels
                .replace(&format!("{{{rest}}}"), &format!("{{{rest}...}}"))
                .replace(&format!("{{{rest}...}}..."), &format!("{{{rest}...}}"));
        }
        let levels =
            Pattern::parse(&levels).map_err(|why| format!("to tell the channel from it: {why}"))?;
        Ok(Reverse {
            levels,
            name: Template::parse(pattern.as_str())?,
            separator,
        })
    }

    /// Takes the topics that lead back; keys have `/` in place of their separator.
    pub fn levels(&self) -> &Pattern {
        &self.levels
    }

    /// The name that a topic or key stands for; `None` if it is not made from the template.
    pub fn name_of(&self, text: &str) -> Option<String> {
        let replaced;
        let text = match self.separator {
            '/' => text,
            separator if !text.contains('/') => {
                replaced = text.replace(separator, "/");
                &replaced
            }
            _ => return None,
        };
        if !self.levels.matches(text) {
            return None;
        }
        let captures = self.levels.captures(text);
        self.name.expand(&captures, Place::Name).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reverse(pattern: &str, template: &str, separator: char) -> Result<Reverse, String> {
        let pattern = Pattern::parse(pattern).unwrap();
        Reverse::new(&pattern, &Template::parse(template).unwrap(), separator)
    }

    #[test]
    fn a_topic_leads_back_to_its_channel() {
        let topics = reverse("telemetry/{device}", "devices/{device}/t", '/').unwrap();
        assert_eq!(
            topics.name_of("devices/7/t").as_deref(),
            Some("telemetry/7")
        );
        assert_eq!(topics.name_of("devices/7/8/t"), None);
        assert_eq!(topics.name_of("devices/7"), None);
        let all = reverse("{path...}", "{path}", '/').unwrap();
        assert_eq!(all.name_of("a/b/c").as_deref(), Some("a/b/c"));
        let written = reverse("x/{path...}", "{path...}", '/').unwrap();
        assert_eq!(written.name_of("a/b").as_deref(), Some("x/a/b"));
    }

    #[test]
    fn a_routing_key_leads_back_too() {
        let keys = reverse("t/{device}/{rest...}", "device.{device}.{rest}", '.').unwrap();
        assert_eq!(keys.name_of("device.7.a.b").as_deref(), Some("t/7/a/b"));
        assert_eq!(keys.name_of("device.7"), None);
        assert_eq!(keys.name_of("device.a/b.c"), None);
    }

    #[test]
    fn where_nothing_tells_the_channel_there_is_no_way_back() {
        for (pattern, template) in [
            ("t/{device}", "devices/t"),
            ("t/{device}", "devices/{device}/{device}"),
            ("t/{device}", "devices/no-{device}"),
            ("t/{rest...}", "{rest}/t"),
        ] {
            assert!(reverse(pattern, template, '/').is_err(), "{template}");
        }
        assert!(reverse("t/{device}", "a/b.{device}", '.').is_err());
    }
}

//! The look-up structure over patterns. Its cost depends on the name, not on how many rows exist.

use super::children::Children;
use super::pattern::{Pattern, Segment};

/// Maps patterns to values and finds the most specific pattern that takes a name: segment by
/// segment from the left, literal before `{name}` before `{name...}`.
#[derive(Debug)]
pub struct Trie<T> {
    root: Node<T>,
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    literal: Children<Node<T>>,
    one: Option<Box<Node<T>>>,
    rest: Option<T>,
    here: Option<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Node<T> {
        Node {
            literal: Children::default(),
            one: None,
            rest: None,
            here: None,
        }
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Trie<T> {
        Trie {
            root: Node::default(),
            len: 0,
        }
    }
}

impl<T> Trie<T> {
    /// Adds a row; a row with an equal pattern is replaced and returned.
    pub fn insert(&mut self, pattern: &Pattern, value: T) -> Option<T> {
        let slot = self.slot(pattern);
        let before = slot.replace(value);
        self.len += usize::from(before.is_none());
        before
    }

    /// The value of the row with an equal pattern.
    pub fn get_mut(&mut self, pattern: &Pattern) -> Option<&mut T> {
        self.root.slot(pattern.segments())?.as_mut()
    }

    /// The value of the row with an equal pattern, which is added if there is none.
    pub fn get_or_default(&mut self, pattern: &Pattern) -> &mut T
    where
        T: Default,
    {
        if self.get_mut(pattern).is_none() {
            self.len += 1;
        }
        self.slot(pattern).get_or_insert_default()
    }

    /// Takes out the row with an equal pattern, and every node that only led to it.
    pub fn remove(&mut self, pattern: &Pattern) -> Option<T> {
        let removed = self.root.remove(pattern.segments());
        self.len -= usize::from(removed.is_some());
        removed
    }

    fn slot(&mut self, pattern: &Pattern) -> &mut Option<T> {
        let mut node = &mut self.root;
        for segment in pattern.segments() {
            node = match segment {
                Segment::Literal(text) => node.literal.get_or_default(text),
                Segment::One(_) => node.one.get_or_insert_default(),
                Segment::Rest(_) => return &mut node.rest,
            };
        }
        &mut node.here
    }

    /// The row that takes this name.
    pub fn find(&self, name: &str) -> Option<&T> {
        self.root.find(Some(name))
    }

    /// Shows every row that takes this name, the most specific first, until `stop` says so.
    pub fn visit(&self, name: &str, stop: &mut impl FnMut(&T) -> bool) {
        self.root.visit(Some(name), stop);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Node<T> {
    /// `name` is what is left of it; `None` at its end.
    fn find(&self, name: Option<&str>) -> Option<&T> {
        let Some(name) = name else {
            return self.here.as_ref();
        };
        let (part, after) = match name.split_once('/') {
            Some((part, after)) => (part, Some(after)),
            None => (name, None),
        };
        let by_literal = self.literal.get(part).and_then(|node| node.find(after));
        by_literal
            .or_else(|| self.one.as_ref().and_then(|node| node.find(after)))
            .or(self.rest.as_ref())
    }
}

impl<T> Node<T> {
    /// Returns whether to stop.
    fn visit(&self, name: Option<&str>, stop: &mut impl FnMut(&T) -> bool) -> bool {
        let Some(name) = name else {
            return self.here.as_ref().is_some_and(stop);
        };
        let (part, after) = match name.split_once('/') {
            Some((part, after)) => (part, Some(after)),
            None => (name, None),
        };
        let literal = self.literal.get(part);
        literal.is_some_and(|node| node.visit(after, stop))
            || self
                .one
                .as_ref()
                .is_some_and(|node| node.visit(after, stop))
            || self.rest.as_ref().is_some_and(stop)
    }

    /// The place of a pattern, as far as there is one.
    fn slot(&mut self, segments: &[Segment]) -> Option<&mut Option<T>> {
        match segments.split_first() {
            None => Some(&mut self.here),
            Some((Segment::Literal(text), rest)) => self.literal.get_mut(text)?.slot(rest),
            Some((Segment::One(_), rest)) => self.one.as_mut()?.slot(rest),
            Some((Segment::Rest(_), _)) => Some(&mut self.rest),
        }
    }

    fn remove(&mut self, segments: &[Segment]) -> Option<T> {
        match segments.split_first() {
            None => self.here.take(),
            Some((Segment::Literal(text), rest)) => {
                let node = self.literal.get_mut(text)?;
                let removed = node.remove(rest);
                if node.is_empty() {
                    self.literal.remove(text);
                }
                removed
            }
            Some((Segment::One(_), rest)) => {
                let node = self.one.as_mut()?;
                let removed = node.remove(rest);
                if node.is_empty() {
                    self.one = None;
                }
                removed
            }
            Some((Segment::Rest(_), _)) => self.rest.take(),
        }
    }

    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.one.is_none() && self.rest.is_none() && self.here.is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trie(patterns: &[&str]) -> Trie<String> {
        let mut trie = Trie::default();
        for text in patterns {
            trie.insert(&Pattern::parse(text).unwrap(), (*text).to_string());
        }
        trie
    }

    #[test]
    fn the_most_specific_row_wins_from_the_left() {
        let trie = trie(&["{all...}", "a/{x}", "a/b", "a/{x...}", "{y}/b/c", "a/{x}/c"]);
        for (name, row) in [
            ("a/b", "a/b"),
            ("a/z", "a/{x}"),
            ("a/b/c", "a/{x}/c"),
            ("a/b/d", "a/{x...}"),
            ("z/b/c", "{y}/b/c"),
            ("z/b", "{all...}"),
            ("a", "{all...}"),
        ] {
            assert_eq!(trie.find(name).map(String::as_str), Some(row), "{name}");
        }
    }

    #[test]
    fn all_rows_are_shown_and_removed_without_a_trace() {
        let rows = ["a/b", "a/{x}", "a/{x...}", "{all...}", "z"];
        let mut trie = trie(&rows);
        let mut shown = Vec::new();
        trie.visit("a/b", &mut |row: &String| {
            shown.push(row.clone());
            row == "a/{x...}"
        });
        assert_eq!(shown, ["a/b", "a/{x}", "a/{x...}"]);
        for row in rows {
            assert_eq!(
                trie.remove(&Pattern::parse(row).unwrap()).as_deref(),
                Some(row)
            );
        }
        assert!(trie.is_empty() && trie.root.is_empty());
        assert_eq!(trie.remove(&Pattern::parse("a/b").unwrap()), None);
    }

    /// A pattern of these kinds of segments: two literals, a capture, and a rest at the end.
    fn text_of(kinds: &[usize]) -> String {
        let last = kinds.len() - 1;
        let segment = |(index, kind): (usize, &usize)| match kind {
            0 => "a".to_string(),
            1 => "b".to_string(),
            3 if index == last => "{rest...}".to_string(),
            _ => format!("{{c{index}}}"),
        };
        kinds
            .iter()
            .enumerate()
            .map(segment)
            .collect::<Vec<_>>()
            .join("/")
    }

    proptest! {
        /// The reference is the definition itself, applied to every row in turn.
        #[test]
        fn it_agrees_with_a_linear_search(
            rows in proptest::collection::vec(
                proptest::collection::vec(0..4usize, 1..4), 1..12,
            ),
            name in "(a|b|c)(/(a|b|c)){0,3}",
        ) {
            let texts: Vec<String> = rows.iter().map(|kinds| text_of(kinds)).collect();
            let rows: Vec<&str> = texts.iter().map(String::as_str).collect();
            let rank = |text: &str| -> Vec<u8> {
                text.split('/').map(|s| match s {
                    s if s.contains("...") => 2,
                    s if s.starts_with('{') => 1,
                    _ => 0,
                }).collect()
            };
            let best = rows.iter()
                .filter(|text| Pattern::parse(text).unwrap().matches(&name))
                .min_by_key(|text| rank(text))
                .map(|text| Pattern::parse(text).unwrap());
            let found = trie(&rows).find(&name).map(|text| Pattern::parse(text).unwrap());
            prop_assert_eq!(found, best);
        }
    }
}

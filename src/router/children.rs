//! The nodes below a node of the trie, by the text of their segment. Most have one or none, and
//! there is a node for each topic of each device: so a table begins only where one pays.

use std::collections::HashMap;

/// Up to here they are looked through.
const FEW: usize = 4;

#[derive(Debug)]
pub(super) enum Children<N> {
    Few(Vec<(Box<str>, N)>),
    // Boxed: a table is twice as large as a list, and there is room for it in each node.
    #[allow(clippy::box_collection)]
    Many(Box<HashMap<Box<str>, N>>),
}

impl<N> Default for Children<N> {
    fn default() -> Children<N> {
        Children::Few(Vec::new())
    }
}

impl<N> Children<N> {
    pub(super) fn get(&self, text: &str) -> Option<&N> {
        match self {
            Children::Few(few) => few.iter().find(|(key, _)| **key == *text).map(|(_, n)| n),
            Children::Many(many) => many.get(text),
        }
    }

    pub(super) fn get_mut(&mut self, text: &str) -> Option<&mut N> {
        match self {
            Children::Few(few) => few
                .iter_mut()
                .find(|(key, _)| **key == *text)
                .map(|(_, n)| n),
            Children::Many(many) => many.get_mut(text),
        }
    }

    /// The one of this text, which is added if there is none.
    pub(super) fn get_or_default(&mut self, text: &str) -> &mut N
    where
        N: Default,
    {
        if let Children::Few(few) = self
            && few.len() >= FEW
            && !few.iter().any(|(key, _)| **key == *text)
        {
            *self = Children::Many(Box::new(few.drain(..).collect()));
        }
        match self {
            Children::Few(few) => {
                let known = few.iter().position(|(key, _)| **key == *text);
                let at = known.unwrap_or(few.len());
                if known.is_none() {
                    few.reserve_exact(1);
                    few.push((text.into(), N::default()));
                }
                &mut few[at].1
            }
            Children::Many(many) => many.entry(text.into()).or_default(),
        }
    }

    pub(super) fn remove(&mut self, text: &str) {
        match self {
            Children::Few(few) => few.retain(|(key, _)| **key != *text),
            Children::Many(many) => drop(many.remove(text)),
        }
        if self.is_empty() {
            *self = Children::default();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Children::Few(few) => few.is_empty(),
            Children::Many(many) => many.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_found_and_removed_whether_few_or_many() {
        let mut children = Children::<usize>::default();
        let texts: Vec<String> = (0..3 * FEW).map(|number| number.to_string()).collect();
        for (number, text) in texts.iter().enumerate() {
            *children.get_or_default(text) = number;
            *children.get_or_default("0") = 0;
            for (number, text) in texts[..=number].iter().enumerate() {
                assert_eq!(children.get(text), Some(&number));
            }
        }
        assert!(matches!(children, Children::Many(_)));
        for text in &texts {
            assert!(!children.is_empty());
            children.remove(text);
            assert_eq!(children.get_mut(text), None);
        }
        assert!(children.is_empty() && matches!(children, Children::Few(_)));
    }
}

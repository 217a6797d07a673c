//! `docs/configuration.md` has every key, and no other.

use std::collections::BTreeSet;

use super::defaults::keys;
use crate::config::schema;

const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// Each heading is a table, each row below it a key of that table.
fn rows() -> impl Iterator<Item = (String, Option<&'static str>)> {
    let sections = REFERENCE.lines().scan(String::new(), |section, line| {
        if let Some(heading) = line.trim_start_matches('#').strip_prefix(' ')
            && line.starts_with("##")
        {
            *section = heading.to_owned();
            return Some((section.clone(), None));
        }
        let key = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split('`').next());
        Some((section.clone(), key))
    });
    sections.filter(|(section, _)| !section.contains(' '))
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let mut wanted = BTreeSet::new();
    keys(&schema(), "", &mut wanted);
    let written: BTreeSet<String> = rows()
        .filter(|(section, _)| !section.is_empty())
        .map(|(section, key)| match key {
            Some(key) => format!("{section}.{key}"),
            None => section,
        })
        .collect();
    let missing: Vec<_> = wanted.difference(&written).collect();
    let invented: Vec<_> = written.difference(&wanted).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing {missing:?}, invented {invented:?}"
    );
}

//! The scripts of routes and services: each of them compiles.

use std::cell::LazyCell;
use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Reading;
use crate::config::node::{Node, Origin, Source};
use crate::config::report::Problem;
use crate::config::{Route, RouteTarget, Scripts, Service};
use crate::router::Template;
use crate::script::{self, CheckError};

/// How deep below `scripts.directory` is looked for the scripts of a template.
const DEPTH: usize = 32;

pub(super) fn check(
    reading: &mut Reading<'_>,
    scripts: &Scripts,
    routes: &[Arc<Route>],
    services: &[Arc<Service>],
) {
    let root = reading.root;
    let mut seen = HashSet::new();
    let all = LazyCell::new(|| all_below(&scripts.directory));
    for route in routes {
        let RouteTarget::Script { path } = &route.target else {
            continue;
        };
        let row = reading.row_of(route).and_then(|row| row.get("script"));
        let place = row.unwrap_or(root);
        for file in files(&scripts.directory, path, &all) {
            if seen.insert(file.clone())
                && let Err(error) = script::check(&file)
            {
                report(reading, place, "the route that leads there", &file, error);
            }
        }
    }
    for service in services {
        let file = scripts.directory.join(&*service.script);
        let mut rows = super::rows(root, "service").iter();
        let row = rows.find(|row| super::text(row, "name") == Some(&*service.name));
        let place = row.and_then(|row| row.get("script")).unwrap_or(root);
        if file.is_file()
            && seen.insert(file.clone())
            && let Err(error) = script::check(&file)
        {
            report(reading, place, "the service that it is of", &file, error);
        }
    }
}

/// The scripts that a template can lead to, as far as they are there.
fn files(directory: &Path, template: &Template, all: &[PathBuf]) -> Vec<PathBuf> {
    let text = template.as_str();
    let (Some((before, _)), Some((_, after))) = (text.split_once('{'), text.rsplit_once('}'))
    else {
        return Some(directory.join(text))
            .filter(|file| file.is_file())
            .into_iter()
            .collect();
    };
    let fits = |file: &&PathBuf| {
        let name = file.strip_prefix(directory).ok().and_then(Path::to_str);
        name.is_some_and(|name| name.starts_with(before) && name.ends_with(after))
    };
    all.iter().filter(fits).cloned().collect()
}

/// Every file below the directory, in the order of their names.
fn all_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(directory, DEPTH, &mut |file| found.push(file.to_owned()));
    found.sort();
    found
}

fn walk(directory: &Path, depth: usize, visit: &mut impl FnMut(&Path)) {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.is_file() {
            visit(&path);
        } else if path.is_dir() && depth > 0 {
            walk(&path, depth - 1, visit);
        }
    }
}

/// Points into the script, and at the row that leads there.
fn report(reading: &mut Reading<'_>, place: &Node, what: &str, file: &Path, error: CheckError) {
    let Ok(text) = std::fs::read_to_string(file) else {
        reading.problem(place, format!("{}: {}", file.display(), error.message));
        return;
    };
    let span = span(&text, error.line, error.column);
    let index = reading.sources.len();
    reading.sources.push(Source {
        name: file.display().to_string(),
        text,
        directory: PathBuf::new(),
    });
    let problem = Problem::new(Origin::File(index, span), error.message);
    let problem = problem.and(place.origin.clone(), what);
    reading.problems.push(problem);
}

/// From a place to the end of its line; both are counted from 1, and 0 is unknown.
fn span(text: &str, line: u32, column: u32) -> Range<usize> {
    let skip = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
    let lines = text.split_inclusive('\n');
    let start: usize = lines.clone().take(skip).map(str::len).sum();
    let whole = lines
        .skip(skip)
        .map(|line| line.trim_end())
        .next()
        .unwrap_or_default();
    let column = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
    let at = whole.char_indices().nth(column).map_or(0, |(at, _)| at);
    start + at..start + whole.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_in_its_text() {
        let text = "eins\n  zwei ä b\ndrei";
        assert_eq!(&text[span(text, 2, 3)], "zwei ä b");
        assert_eq!(&text[span(text, 2, 10)], "b");
        assert_eq!(&text[span(text, 3, 0)], "drei");
        assert_eq!(&text[span(text, 9, 9)], "");
    }
}

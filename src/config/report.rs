//! What is wrong with a configuration, all of it at once, each with its place.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

use super::mask::mask;
use super::node::{Origin, Sources};

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What, and what to do about it.
    pub message: String,
    /// The other place that it has to do with, and what stands there.
    pub other: Option<(Origin, String)>,
}

impl Problem {
    /// Something wrong at one place.
    pub fn new(origin: Origin, message: impl Into<String>) -> Problem {
        Problem {
            origin,
            message: message.into(),
            other: None,
        }
    }

    /// Adds the other place.
    #[must_use]
    pub fn and(mut self, origin: Origin, label: impl Into<String>) -> Problem {
        self.other = Some((origin, label.into()));
        self
    }
}

/// What was found so far.
pub type Problems = Vec<Problem>;

/// Why a configuration is refused: every problem, and the texts that they point into.
#[derive(Debug)]
pub struct Errors {
    problems: Problems,
    sources: Sources,
}

impl Errors {
    /// The problems in the texts.
    pub fn new(mut problems: Problems, sources: Sources) -> Errors {
        // In the order in which people read; variables come last.
        problems.sort_by_key(|problem| match &problem.origin {
            Origin::File(index, span) => (*index, span.start),
            Origin::Variable(_) => (usize::MAX, 0),
        });
        Errors { problems, sources }
    }

    /// All of them.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// `file:line:column: message` of each, for programs.
    pub fn lines(&self) -> Vec<String> {
        self.problems
            .iter()
            .map(|problem| format!("{}: {}", self.place(&problem.origin), problem.message))
            .collect()
    }

    /// The same as JSON: an array of objects with `file`, `line` and `column`, or `variable`.
    pub fn to_json(&self) -> serde_json::Value {
        let problems = self.problems.iter().map(|problem| {
            let message = &problem.message;
            match &problem.origin {
                Origin::Variable(name) => json!({ "variable": name, "message": message }),
                Origin::File(index, span) => {
                    let source = &self.sources[*index];
                    let (line, column) = source.position(span.start);
                    let file = &source.name;
                    json!({ "file": file, "line": line, "column": column, "message": message })
                }
            }
        });
        problems.collect()
    }

    /// File, line and column of a place; both counted from 1.
    pub fn place(&self, origin: &Origin) -> String {
        match origin {
            Origin::Variable(name) => format!("environment variable {name}"),
            Origin::File(index, span) => {
                let source = &self.sources[*index];
                let (line, column) = source.position(span.start);
                format!("{}:{line}:{column}", source.name)
            }
        }
    }

    /// For people: each with its line and a caret, coloured if wanted.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&self.render_one(problem, &renderer));
            text.push_str("\n\n");
        }
        let count = self.problems.len();
        let noun = if count == 1 { "error" } else { "errors" };
        text.push_str(&format!("{count} {noun} in the configuration"));
        text
    }

    fn render_one(&self, problem: &Problem, renderer: &Renderer) -> String {
        let Origin::File(..) = problem.origin else {
            return format!(
                "error: {}: {}",
                self.place(&problem.origin),
                problem.message
            );
        };
        let mut group = Group::with_title(Level::ERROR.primary_title(problem.message.as_str()));
        group = self.point(group, &problem.origin, AnnotationKind::Primary, "");
        if let Some((origin, label)) = &problem.other {
            group = self.point(group, origin, AnnotationKind::Context, label);
        }
        renderer.render(&[group])
    }

    fn point<'a>(
        &'a self,
        group: Group<'a>,
        origin: &Origin,
        kind: AnnotationKind,
        label: &'a str,
    ) -> Group<'a> {
        let Origin::File(index, span) = origin else {
            return group;
        };
        let source = &self.sources[*index];
        let end = span.end.clamp(span.start, source.text.len());
        let annotation = kind.span(span.start.min(end)..end).label(label);
        group.element(
            Snippet::source(mask(&source.text))
                .path(source.name.as_str())
                .annotation(annotation),
        )
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Errors {}

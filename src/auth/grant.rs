//! What a token allows. Nothing is allowed that no grant names.

use crate::router::Pattern;

/// What a grant is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Call,
    Serve,
    Publish,
    Subscribe,
}

impl Verb {
    /// The key in a `[[token]]` row.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Call => "call",
            Verb::Serve => "serve",
            Verb::Publish => "publish",
            Verb::Subscribe => "subscribe",
        }
    }
}

/// The grants of one token, `{caller}` replaced by its name already.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Methods it may call.
    pub call: Vec<Pattern>,
    /// Methods it may answer.
    pub serve: Vec<Pattern>,
    /// Channels it may publish to.
    pub publish: Vec<Pattern>,
    /// Channels it may subscribe to.
    pub subscribe: Vec<Pattern>,
}

impl Grants {
    fn patterns(&self, verb: Verb) -> &[Pattern] {
        match verb {
            Verb::Call => &self.call,
            Verb::Serve => &self.serve,
            Verb::Publish => &self.publish,
            Verb::Subscribe => &self.subscribe,
        }
    }

    /// Whether a grant names this.
    pub fn permit(&self, verb: Verb, name: &str) -> bool {
        self.patterns(verb)
            .iter()
            .any(|pattern| pattern.matches(name))
    }

    /// Whether one grant covers every name that the pattern covers.
    pub fn permit_all(&self, verb: Verb, wanted: &Pattern) -> bool {
        self.patterns(verb)
            .iter()
            .any(|pattern| pattern.covers(wanted))
    }
}

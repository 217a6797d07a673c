//! What a token allows. Nothing is allowed that no grant names.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::{Fault, Kind};
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

/// Grants as texts, as they are stored and shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrantTexts {
    /// Methods it may call.
    pub call: Vec<String>,
    /// Methods it may answer.
    pub serve: Vec<String>,
    /// Channels it may publish to.
    pub publish: Vec<String>,
    /// Channels it may subscribe to.
    pub subscribe: Vec<String>,
}

impl GrantTexts {
    /// The grants of the token of this name, for which `{caller}` stands.
    ///
    /// Returns `invalid_params` for what is no pattern; `data.path` says where.
    pub fn read(&self, caller: &str) -> Result<Grants, Fault> {
        let read = |verb: Verb, texts: &[String]| {
            let texts = texts.iter().enumerate();
            let pattern = |(index, text): (usize, &String)| {
                Pattern::parse(&text.replace("{caller}", caller)).map_err(|why| {
                    let path = format!("/{}/{index}", verb.as_str());
                    Fault::new(Kind::InvalidParams, why).with_data(&json!({ "path": path }))
                })
            };
            texts.map(pattern).collect::<Result<Vec<_>, Fault>>()
        };
        Ok(Grants {
            call: read(Verb::Call, &self.call)?,
            serve: read(Verb::Serve, &self.serve)?,
            publish: read(Verb::Publish, &self.publish)?,
            subscribe: read(Verb::Subscribe, &self.subscribe)?,
        })
    }
}

impl From<&Grants> for GrantTexts {
    fn from(grants: &Grants) -> GrantTexts {
        let texts = |patterns: &[Pattern]| patterns.iter().map(Pattern::to_string).collect();
        GrantTexts {
            call: texts(&grants.call),
            serve: texts(&grants.serve),
            publish: texts(&grants.publish),
            subscribe: texts(&grants.subscribe),
        }
    }
}

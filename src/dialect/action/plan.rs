//! What a message wants, and the steps from there to what is said about it.

use std::sync::Arc;

use bytes::Bytes;

use super::account::{Answer, Profile, Question, Refusal, Registration};
use super::fields::Fields;
use super::said::{DECISION, MISSING_FIELDS, NO_DECISION, NOT_JSON, NOT_SAVED, Said, bad};
use crate::auth::Caller;
use crate::call::{Kind, Outcome, Payload};
use crate::config::ActionOptions;
use crate::router::{as_segment, check_name};

/// The action of the protocol that calls a method; the other name of it is [`DECISION`].
const TAKE_DECISION: &str = "TakeDecision";
/// What middle parts of the protocol's own server say is said in the name of this one.
const CONNECTION: &str = "Connection";
/// The same of what comes before any action.
const ROOT: &str = "root";

/// What is said about an action that no route takes, where that is said.
const UNKNOWN: &str = "Unknown action";

/// The member that tells a responder of the account.
const ACCOUNT: &str = "account";

/// Bytes that an account may make callway keep, or hold in memory.
const LONGEST_NAME: usize = 80;
const LONGEST_CHECKSUM: usize = 1024;
const LONGEST_PROMPT: usize = 16 * 1024;

/// One message that was understood: what is asked first, and what follows.
#[derive(Debug)]
pub struct Action {
    /// What the accounts are asked.
    pub question: Question,
    /// What is to be done once they have answered.
    pub plan: Plan,
}

/// What a message still wants when the accounts have been asked.
#[derive(Debug)]
pub struct Plan {
    /// How the answer calls the action.
    route: Arc<str>,
    /// What is called, and what with; None without what the action needs.
    call: Option<(Arc<str>, Payload)>,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// A call, as somebody.
    Call(Caller, Arc<str>, Payload),
    /// The end: what is answered.
    Say(Said),
}

impl Action {
    /// Reads a message of a socket. What it is not is said at once.
    pub fn read(message: &Bytes, options: &ActionOptions) -> Result<Action, Said> {
        let Some(mut fields) = Fields::read(message, reserved(options)) else {
            return Err(bad(ROOT, 400, NOT_JSON));
        };
        let action = std::mem::take(&mut fields.action);
        match action.is_empty() {
            true => Err(bad(ROOT, 400, MISSING_FIELDS)),
            false => Action::of(&action, fields, options),
        }
    }

    /// The action of this name with these members.
    pub(super) fn of(name: &str, fields: Fields, options: &ActionOptions) -> Result<Action, Said> {
        match name {
            "Register" => register(fields),
            "Connection" | "Connect" => match fields.checksum {
                Some(checksum) => Ok(Action::asking(CONNECTION, Question::Connect { checksum })),
                None => Err(bad(CONNECTION, 400, MISSING_FIELDS)),
            },
            "Disconnect" => {
                let token = fields.token;
                Ok(Action::asking(name, Question::Disconnect { token }))
            }
            _ => call(name, fields, options),
        }
    }

    fn asking(route: &str, question: Question) -> Action {
        Action {
            question,
            plan: Plan {
                route: route.into(),
                call: None,
            },
        }
    }
}

fn register(fields: Fields) -> Result<Action, Said> {
    let Fields {
        api_key: Some(api_key),
        checksum: Some(checksum),
        name,
        prompt,
        ..
    } = fields
    else {
        return Err(bad("Register", 400, MISSING_FIELDS));
    };
    if name.is_empty() || prompt.is_empty() {
        return Err(bad("Register", 400, MISSING_FIELDS));
    }
    for (field, length, most) in [
        ("name", name.len(), LONGEST_NAME),
        ("checksum", checksum.expose().len(), LONGEST_CHECKSUM),
        ("prompt", prompt.len(), LONGEST_PROMPT),
    ] {
        if length > most {
            let why = format!("the {field} has {length} bytes, at most {most} are kept");
            return Err(bad("Register", 413, why));
        }
    }
    let registration = Registration {
        api_key,
        checksum,
        name,
        prompt,
    };
    Ok(Action::asking("Register", Question::Register(registration)))
}

/// Whatever else is an action of the game. A decision needs a message, and is answered also where
/// no route takes it.
fn call(name: &str, mut fields: Fields, options: &ActionOptions) -> Result<Action, Said> {
    let decides = name == TAKE_DECISION || name == DECISION;
    let (spelled, route) = match decides {
        true => (TAKE_DECISION, DECISION),
        false => (name, name),
    };
    let method: Arc<str> = options.methods.with_wildcard(&as_segment(spelled)).into();
    if !decides && check_name(&method).is_err() {
        // No method has such a name. It is not repeated: it may be as long as a message.
        return Err(bad(ROOT, 404, UNKNOWN).unknown());
    }
    let token = fields.token.take();
    let complete = fields.has_message || !decides;
    Ok(Action {
        question: Question::Admit {
            token,
            method: method.clone(),
            needs_route: !decides,
        },
        plan: Plan {
            route: route.into(),
            call: complete.then(|| (method, fields.into_params())),
        },
    })
}

/// The member that callway adds, which a client may not forge.
pub(super) fn reserved(options: &ActionOptions) -> Option<&'static str> {
    options.account.then_some(ACCOUNT)
}

/// The params, an object, with what is told of the account as one more member.
fn with_account(params: &Payload, Profile { name, prompt }: &Profile) -> Payload {
    let text = params.bytes();
    let members = text.strip_suffix(b"}").unwrap_or(text);
    let account = serde_json::json!({ "name": name, "prompt": prompt });
    let comma = if members == b"{" { "" } else { "," };
    let added = format!("{comma}\"{ACCOUNT}\":{account}}}");
    Payload::unchecked_json([members, added.as_bytes()].concat())
}

impl Plan {
    /// What follows from what the accounts answered.
    pub fn answered(&mut self, answered: Result<Answer, Refusal>) -> Step {
        let route = &*self.route;
        Step::Say(match answered {
            Ok(Answer::Caller(caller, profile)) => match self.call.take() {
                Some((method, params)) => {
                    let params = match profile {
                        Some(profile) => with_account(&params, &profile),
                        None => params,
                    };
                    return Step::Call(caller, method, params);
                }
                None => bad(route, 400, MISSING_FIELDS),
            },
            Ok(Answer::Token(token)) => Said::token(route, token),
            Ok(Answer::Disconnected) => Said::disconnected(route),
            Err(refusal) => self.refused(refusal),
        })
    }

    /// What is said about a call's outcome.
    pub fn outcome(&self, outcome: Outcome) -> Said {
        let fault = match outcome {
            Ok(reply) => return Said::result(&self.route, reply.payload),
            Err(fault) => fault,
        };
        if fault.kind == Kind::ParseError {
            // Nobody has looked into what travels on before.
            return bad(ROOT, 400, NOT_JSON);
        }
        let said = match *self.route == *DECISION {
            true => bad(DECISION, fault.status(), NO_DECISION),
            false => bad(&self.route, fault.status(), fault.message.clone()),
        };
        said.with_retry_after(&fault)
    }

    /// What is said to who sends more than is answered.
    pub(super) fn overloaded(&self) -> Said {
        bad(&self.route, 503, "too many messages wait for an answer")
    }

    fn refused(&self, refusal: Refusal) -> Said {
        let route = &*self.route;
        match refusal {
            Refusal::ApiKey => bad(route, 403, "Invalid API Key"),
            Refusal::Taken => bad(route, 409, NOT_SAVED),
            Refusal::Full => bad(route, 503, NOT_SAVED),
            Refusal::Unknown => bad(route, 404, "Account doesn't exist"),
            Refusal::NoToken => bad(CONNECTION, 401, "No token in request body"),
            Refusal::Token => bad(CONNECTION, 403, "Invalid Token"),
            Refusal::NoRoute => bad(route, 404, UNKNOWN).unknown(),
            Refusal::Generate(_) if route == CONNECTION => {
                bad(route, 500, "Error generating token")
            }
            Refusal::Generate(_) => bad(route, 500, "Unable to generate Token"),
            Refusal::Failed(fault) => {
                let why = match route {
                    DECISION => NO_DECISION,
                    CONNECTION => "Error searching in database",
                    "Disconnect" => "Failed to disconnect",
                    _ => NOT_SAVED,
                };
                bad(route, fault.status(), why).with_retry_after(&fault)
            }
        }
    }
}

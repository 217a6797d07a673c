//! `/api/tokens`: makes, shows and revokes tokens.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Api, Ask, nothing, ok};
use crate::auth::{GrantTexts, Made, Token, check_token_name, digest, new_secret};
use crate::call::{Fault, Kind, parse_duration, rfc3339, unix_ms};
use crate::dialect::http::Answer;
use crate::ingress::admin::page::json_answer;

/// A token as somebody wants it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: String,
    #[serde(default)]
    call: Vec<String>,
    #[serde(default)]
    serve: Vec<String>,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    admin: bool,
    /// A duration, such as `90d`.
    expires: Option<String>,
}

/// A token as it is shown: everything but itself.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    /// `made` or `configuration`.
    source: &'static str,
    #[serde(flatten)]
    grants: GrantTexts,
    admin: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    expired: bool,
}

impl Api {
    pub(super) async fn tokens(&self, ask: &Ask<'_>) -> Result<Answer, Fault> {
        match ask.verb {
            "GET" => Ok(self.list_tokens()),
            "POST" => self.make_token(ask.read()?).await,
            _ => ask.not_allowed("GET, HEAD, POST"),
        }
    }

    pub(super) async fn token(&self, name: &str, ask: &Ask<'_>) -> Result<Answer, Fault> {
        match ask.verb {
            "GET" => self.show_token(name),
            "DELETE" => self.revoke_token(name).await,
            _ => ask.not_allowed("GET, HEAD, DELETE"),
        }
    }

    /// Those of the configuration in its order, then those that were made by name.
    fn list_tokens(&self) -> Answer {
        let made = self.context.auth.made().all();
        let configured = self.context.config.tokens.iter().map(configured);
        let tokens: Vec<_> = configured.chain(made.iter().map(shown)).collect();
        ok(&json!({ "tokens": tokens }))
    }

    fn show_token(&self, name: &str) -> Result<Answer, Fault> {
        let mut rows = self.context.config.tokens.iter();
        if let Some(row) = rows.find(|row| &*row.name == name) {
            return Ok(ok(&configured(row)));
        }
        let made = self.context.auth.made().get(name).ok_or_else(unknown)?;
        Ok(ok(&shown(&made)))
    }

    /// The answer is the only place where the token itself ever is.
    async fn make_token(&self, wanted: Wanted) -> Result<Answer, Fault> {
        let secret = new_secret()?;
        let created = unix_ms();
        let expires = wanted.expires.as_deref();
        let expires = expires.map(|after| end_of(created, after)).transpose()?;
        check_token_name(&wanted.name).map_err(|why| refused(why, "/name"))?;
        let grants = GrantTexts {
            call: wanted.call,
            serve: wanted.serve,
            publish: wanted.publish,
            subscribe: wanted.subscribe,
        };
        let made = Made {
            token: Token {
                digest: digest(secret.expose()),
                grants: grants.read(&wanted.name)?,
                admin: wanted.admin,
                name: wanted.name.into(),
            },
            created,
            expires,
        };
        let auth = &self.context.auth;
        if auth.is_configured(&made.token.name, &made.token.digest) {
            return Err(taken());
        }
        let (auth, kept) = (auth.clone(), made.clone());
        let add = move || auth.made().add([kept]);
        if !self.context.store.add_token(&made, add).await? {
            return Err(taken());
        }
        tracing::info!(token = %made.token.name, "a token was made");
        let mut answer = shown(&made);
        answer["token"] = secret.expose().into();
        Ok(json_answer(201, &answer))
    }

    async fn revoke_token(&self, name: &str) -> Result<Answer, Fault> {
        let (auth, revoked) = (self.context.auth.clone(), name.to_owned());
        let revoke = move || auth.made().revoke(&revoked);
        match self.context.store.remove_token(name, revoke).await {
            Ok(true) => {
                tracing::info!(token = name, "a token was revoked, its sessions end");
                return Ok(Answer::empty(204));
            }
            Ok(false) => {}
            Err(mut fault) => {
                // A full disk must not keep anybody in.
                self.context.auth.made().revoke(name);
                tracing::error!(token = name, %fault, "a token is revoked until the next start");
                fault.message = format!(
                    "the token is refused until the next start, revoke it again: {}",
                    fault.message
                )
                .into();
                return Err(fault);
            }
        }
        let mut rows = self.context.config.tokens.iter();
        Err(match rows.any(|row| &*row.name == name) {
            true => conflict("this token stands in the configuration; remove its row and restart"),
            false => unknown(),
        })
    }
}

fn configured(row: &Token) -> Value {
    json!(Shown {
        name: &row.name,
        source: "configuration",
        grants: GrantTexts::from(&row.grants),
        admin: row.admin,
        created: None,
        expires: None,
        expired: false,
    })
}

fn shown(made: &Made) -> Value {
    json!(Shown {
        name: &made.token.name,
        source: "made",
        grants: GrantTexts::from(&made.token.grants),
        admin: made.token.admin,
        created: Some(rfc3339(made.created)),
        expires: made.expires.map(rfc3339),
        expired: made.has_expired(unix_ms()),
    })
}

/// When a token ends that is made now and lives this long.
fn end_of(now: u64, life: &str) -> Result<u64, Fault> {
    let life = parse_duration(life).map_err(|why| refused(why, "/expires"))?;
    let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    let end = now.checked_add(life).filter(|_| life > 0);
    // The database counts in 63 bits.
    let end = end.filter(|end| i64::try_from(*end).is_ok());
    end.ok_or_else(|| refused("a token lives for some time, and not for ever", "/expires"))
}

fn refused(why: impl Into<String>, path: &str) -> Fault {
    Fault::new(Kind::InvalidParams, why.into()).with_data(&json!({ "path": path }))
}

fn taken() -> Fault {
    conflict("there is a token of this name; revoke it first, or choose another name")
}

fn conflict(message: &'static str) -> Fault {
    Fault::new(Kind::InvalidRequest, message).with_http_status(409)
}

fn unknown() -> Fault {
    nothing("there is no token of this name; see `callway token list`")
}

//! `/api/dead`: shows dead letters, tries them again, removes them.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::{Api, Ask, nothing, ok, shown};
use crate::call::{Fault, Kind, rfc3339};
use crate::context::{Context, Revive};
use crate::dialect::http::Answer;
use crate::store::Buried;

/// Letters in one answer unless it asks for more or less.
const PAGE: u64 = 100;
/// Letters in one answer at most.
const MAX_PAGE: u64 = 1000;

impl Api {
    pub(super) async fn dead_letters(&self, ask: &Ask<'_>) -> Result<Answer, Fault> {
        let store = &self.context.store;
        match ask.verb {
            "GET" => {
                let count = ask.number("count")?.unwrap_or(PAGE).min(MAX_PAGE) as usize;
                let letters = store.dead_letters(count, ask.number("before")?).await?;
                let letters: Vec<_> = letters.iter().map(listed).collect();
                Ok(ok(&json!({ "letters": letters })))
            }
            "DELETE" => {
                let purged = store.purge_dead_letters().await?;
                tracing::info!(purged, "dead letters were removed");
                Ok(ok(&json!({ "purged": purged })))
            }
            _ => ask.not_allowed("GET, HEAD, DELETE"),
        }
    }

    pub(super) async fn dead_letter(&self, id: &str, ask: &Ask<'_>) -> Result<Answer, Fault> {
        if ask.verb != "GET" {
            return ask.not_allowed("GET, HEAD");
        }
        let buried = self.context.store.dead_letter(id_of(id)?).await?;
        Ok(ok(&whole(&buried.ok_or_else(unknown)?)))
    }

    /// Hands a letter back to where it was going. That goes on if whoever asked goes away.
    pub(super) async fn retry_dead_letter(&self, id: &str, ask: &Ask<'_>) -> Result<Answer, Fault> {
        if ask.verb != "POST" {
            return ask.not_allowed("POST");
        }
        let id = id_of(id)?;
        let revive = self.context.revive.get().cloned().ok_or_else(|| {
            Fault::unavailable("not_ready", "dead letters cannot be tried again yet")
        })?;
        let work = retry(self.context.clone(), revive, self.reviving.clone(), id);
        let done = self.context.background.spawn_on(work, &self.main).await;
        done.unwrap_or_else(|_| Err(Fault::new(Kind::Internal, "a defect of callway")))?;
        Ok(ok(&json!({ "revived": id })))
    }
}

/// The letter is removed only when it has arrived. Two hands do not take up the same one.
async fn retry(
    context: Context,
    revive: Revive,
    reviving: Arc<Mutex<()>>,
    id: u64,
) -> Result<(), Fault> {
    let _alone = reviving.lock().await;
    let buried = context.store.dead_letter(id).await?.ok_or_else(unknown)?;
    revive(buried.letter).await?;
    context.store.remove_dead_letter(id).await?;
    tracing::info!(letter = id, "a dead letter was taken back");
    Ok(())
}

fn id_of(text: &str) -> Result<u64, Fault> {
    let id = text.parse::<u64>().ok();
    // The database counts in 63 bits.
    id.filter(|id| i64::try_from(*id).is_ok())
        .ok_or_else(unknown)
}

fn unknown() -> Fault {
    nothing("there is no dead letter of this id; see `callway dead list`")
}

/// Without its body.
fn listed(buried: &Buried) -> Value {
    Value::Object(members(buried))
}

fn whole(buried: &Buried) -> Value {
    let mut members = members(buried);
    members.insert("body".into(), shown(&buried.letter.body));
    Value::Object(members)
}

fn members(buried: &Buried) -> Map<String, Value> {
    let letter = &buried.letter;
    let mut members = Map::new();
    members.insert("id".into(), buried.id.into());
    members.insert("time".into(), rfc3339(letter.time).into());
    members.insert("kind".into(), letter.kind.as_str().into());
    members.insert("name".into(), letter.name.as_str().into());
    members.insert("source".into(), letter.source.as_str().into());
    members.insert("reason".into(), letter.reason.as_str().into());
    if let Some(id) = letter.call_id {
        members.insert("call_id".into(), id.to_string().into());
    }
    members.insert("headers".into(), letter.headers.clone().into());
    members.insert("bytes".into(), buried.bytes.into());
    members
}

#[cfg(test)]
mod tests;

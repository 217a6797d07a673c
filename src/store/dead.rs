//! Dead letters: calls, events and messages that can or could not be carried out, kept for people
//! to look at and to try again. The oldest go when there are too many.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Store;
use crate::call::{CallId, Fault, Kind, unix_ms};
use crate::observe::Metrics;

/// Where the number of letters is kept, so that none of them needs to be counted again.
const COUNT: &str = "dead.count";
/// Headers that are left out, whoever writes the letter.
const SECRETS: [&str; 2] = ["token", "authorization"];

/// What a dead letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterKind {
    /// A one-way call.
    Call,
    /// An event.
    Event,
    /// What a webhook did not take.
    Webhook,
    /// A message of which nothing could be made.
    Message,
}

impl LetterKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            LetterKind::Call => "call",
            LetterKind::Event => "event",
            LetterKind::Webhook => "webhook",
            LetterKind::Message => "message",
        }
    }

    fn from_word(word: &str) -> LetterKind {
        match word {
            "call" => LetterKind::Call,
            "event" => LetterKind::Event,
            "webhook" => LetterKind::Webhook,
            _ => LetterKind::Message,
        }
    }
}

/// What could not be carried out, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// What it is about.
    pub kind: LetterKind,
    /// The method, the channel, or the address that it came to.
    pub name: String,
    /// Where it came from: a bus, a queue of the spool.
    pub source: String,
    /// Why: the fault as it shows itself, its kind first.
    pub reason: String,
    /// What stood beside the body. Never a credential.
    pub headers: Map<String, Value>,
    /// The body, as it came.
    pub body: Bytes,
    /// The call that it was to be.
    pub call_id: Option<CallId>,
    /// When it was given up, in Unix milliseconds.
    pub time: u64,
}

impl Letter {
    /// A letter of now. `header` is what is needed to try it again, an object without credentials.
    pub fn new(
        kind: LetterKind,
        name: &str,
        source: &str,
        fault: &Fault,
        header: &impl Serialize,
        body: Bytes,
    ) -> Letter {
        let headers = match serde_json::to_value(header) {
            Ok(Value::Object(headers)) => headers,
            _ => Map::new(),
        };
        Letter {
            kind,
            name: name.to_owned(),
            source: source.to_owned(),
            reason: fault.to_string(),
            headers,
            body,
            call_id: None,
            time: unix_ms(),
        }
    }
}

/// A letter as it lies there.
#[derive(Clone, Debug, PartialEq)]
pub struct Buried {
    /// Names it; later letters have higher ones.
    pub id: u64,
    /// Without its body where many are listed.
    pub letter: Letter,
    /// The length of its body.
    pub bytes: u64,
}

/// What burying came to.
struct Burial {
    id: u64,
    left: i64,
    dropped: usize,
}

impl Store {
    /// Keeps a letter, and of all of them the newest `keep`; comes back with its id once it is on
    /// disk.
    pub async fn bury(&self, letter: Letter, keep: usize) -> Result<u64, Fault> {
        let (told, hears) = tokio::sync::oneshot::channel();
        self.bury_then(letter, keep, |outcome| {
            told.send(outcome).unwrap_or_default(); // nobody waits any more
        })?;
        hears.await.unwrap_or_else(|_| Err(Fault::shutting_down()))
    }

    /// The same without waiting: queued in the order of the calls, and `told` learns from the
    /// writer's thread what became of it.
    pub fn bury_then(
        &self,
        mut letter: Letter,
        keep: usize,
        told: impl FnOnce(Result<u64, Fault>) + Send + 'static,
    ) -> Result<(), Fault> {
        let is_secret = |name: &str| SECRETS.iter().any(|one| name.eq_ignore_ascii_case(one));
        letter.headers.retain(|name, _| !is_secret(name));
        let (metrics, reason) = (self.metrics().clone(), word_of(&letter.reason));
        let tell = move |outcome: Result<Burial, Fault>| {
            if let Ok(burial) = &outcome {
                metrics.dead_lettered(reason);
                metrics.set_dead_letters(burial.left);
                (0..burial.dropped).for_each(|_| metrics.limit_reached("dead_count"));
            }
            told(outcome.map(|burial| burial.id));
        };
        self.submit(move |db| bury(db, &letter, keep), tell)
    }

    /// Who made a one-way call that lies here; `None` if none with this id does.
    pub async fn dead_caller(&self, id: CallId) -> Result<Option<String>, Fault> {
        self.read(move |db| {
            let mut look = db.prepare_cached("SELECT headers FROM dead WHERE call_id = ?")?;
            let headers: Option<String> = look
                .query_row([id.to_string()], |row| row.get(0))
                .optional()?;
            let headers: Option<Map<String, Value>> =
                headers.and_then(|text| serde_json::from_str(&text).ok());
            let caller = headers.and_then(|mut headers| headers.remove("caller"));
            Ok(caller.and_then(|caller| caller.as_str().map(str::to_owned)))
        })
        .await
    }

    /// The newest letters, or the newest before one, without their bodies.
    pub async fn dead_letters(
        &self,
        count: usize,
        before: Option<u64>,
    ) -> Result<Vec<Buried>, Fault> {
        let before = before.map_or(i64::MAX, |id| i64::try_from(id).unwrap_or(i64::MAX));
        self.read(move |db| {
            let mut rows = db.prepare_cached(
                "SELECT id, time, kind, name, source, reason, headers, call_id, length(body), x''
                 FROM dead WHERE id < ? ORDER BY id DESC LIMIT ?",
            )?;
            let rows = rows.query_map(params![before, count as i64], read)?;
            rows.collect()
        })
        .await
    }

    /// One letter, whole.
    pub async fn dead_letter(&self, id: u64) -> Result<Option<Buried>, Fault> {
        self.read(move |db| {
            let mut rows = db.prepare_cached(
                "SELECT id, time, kind, name, source, reason, headers, call_id, length(body), body
                 FROM dead WHERE id = ?",
            )?;
            rows.query_row([id as i64], read).optional()
        })
        .await
    }

    /// Removes a letter, which was taken back to where it was going. Says whether it was there.
    pub async fn remove_dead_letter(&self, id: u64) -> Result<bool, Fault> {
        let metrics = self.metrics().clone();
        let remove = move |db: &Connection| {
            let removed = db.execute("DELETE FROM dead WHERE id = ?", [id as i64])?;
            Ok((removed, count_on(db, -(removed as i64))?))
        };
        let removed = self.write_then(remove, move |(_, left)| metrics.set_dead_letters(*left));
        Ok(removed.await?.0 > 0)
    }

    /// Removes all letters. Says how many there were.
    pub async fn purge_dead_letters(&self) -> Result<usize, Fault> {
        let metrics = self.metrics().clone();
        let purge = |db: &Connection| {
            let removed = db.execute("DELETE FROM dead", [])?;
            count_on(db, -(removed as i64))?;
            Ok(removed)
        };
        self.write_then(purge, move |_| metrics.set_dead_letters(0))
            .await
    }
}

/// Counts the letters, once at the start: a database that was damaged may have lost some.
pub(super) fn count(db: &Connection, metrics: &Metrics) -> rusqlite::Result<()> {
    let count: i64 = db.query_row("SELECT count(*) FROM dead", [], |row| row.get(0))?;
    db.execute(
        "INSERT INTO memo (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![COUNT, count],
    )?;
    metrics.set_dead_letters(count);
    Ok(())
}

/// Adds to the number of letters, within the same transaction; says what it is then.
fn count_on(db: &Connection, more: i64) -> rusqlite::Result<i64> {
    db.prepare_cached("UPDATE memo SET value = value + ? WHERE name = ? RETURNING value")?
        .query_row(params![more, COUNT], |row| row.get(0))
}

fn bury(db: &Connection, letter: &Letter, keep: usize) -> rusqlite::Result<Burial> {
    db.prepare_cached(
        "INSERT INTO dead (time, kind, name, source, reason, headers, body, call_id)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        letter.time as i64,
        letter.kind.as_str(),
        letter.name,
        letter.source,
        letter.reason,
        Value::Object(letter.headers.clone()).to_string(),
        &letter.body[..],
        letter.call_id.map(|id| id.to_string()),
    ])?;
    let id = db.last_insert_rowid().unsigned_abs();
    let count = count_on(db, 1)?;
    let too_many = count - i64::try_from(keep).unwrap_or(i64::MAX);
    if too_many <= 0 {
        return Ok(Burial {
            id,
            left: count,
            dropped: 0,
        });
    }
    let oldest = "DELETE FROM dead WHERE id IN (SELECT id FROM dead ORDER BY id LIMIT ?)";
    let dropped = db.prepare_cached(oldest)?.execute([too_many])?;
    let left = count_on(db, -(dropped as i64))?;
    Ok(Burial { id, left, dropped })
}

fn read(row: &Row<'_>) -> rusqlite::Result<Buried> {
    let headers: String = row.get(6)?;
    let call_id: Option<String> = row.get(7)?;
    Ok(Buried {
        id: row.get::<_, i64>(0)?.unsigned_abs(),
        letter: Letter {
            time: row.get::<_, i64>(1)?.unsigned_abs(),
            kind: LetterKind::from_word(&row.get::<_, String>(2)?),
            name: row.get(3)?,
            source: row.get(4)?,
            reason: row.get(5)?,
            // Written above.
            headers: serde_json::from_str(&headers).unwrap_or_default(),
            call_id: call_id.as_deref().and_then(CallId::parse),
            body: row.get::<_, Vec<u8>>(9)?.into(),
        },
        bytes: row.get::<_, i64>(8)?.unsigned_abs(),
    })
}

/// The label in metrics: the kind that a reason begins with, because texts have no bound.
fn word_of(reason: &str) -> &'static str {
    let word = reason.split(':').next().unwrap_or_default();
    Kind::from_name(word).map_or("other", Kind::as_str)
}

#[cfg(test)]
mod tests;

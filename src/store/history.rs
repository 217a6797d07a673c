//! Events that channels with a history keep, each bounded by count, bytes and age.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::memo::{memo, remember};
use super::{Store, StoreError, unix_ms};
use crate::call::{Fault, Form, Payload, random_bits};
use crate::config::History;

/// Channels that one step of the sweep looks at, and events that it takes out.
const CHANNELS: usize = 500;
const OLD: usize = 1000;

/// An event as it is kept.
#[derive(Clone, Debug)]
pub struct Record {
    /// The second half of its position.
    pub seq: u64,
    /// Names it.
    pub id: Uuid,
    /// When it was published, in milliseconds since 1970.
    pub time: u64,
    /// Its payload, in the form that was settled.
    pub payload: Payload,
}

/// Which events of a channel are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those behind this one, the oldest first.
    After(u64),
    /// The latest ones.
    Latest,
}

/// A part of a channel's history, and where the channel stood then.
#[derive(Clone, Debug)]
pub struct Page {
    /// The last event there ever was.
    pub seq: u64,
    /// The oldest event that is still there; one more than `seq` if there is none.
    pub first: u64,
    /// In the order of the channel.
    pub events: Vec<Record>,
}

impl Store {
    /// The first half of positions: another one whenever events may have been lost, so also when
    /// `rows` is not what it was. Waits for the disk.
    pub fn epoch(&self, rows: &str) -> Result<u64, StoreError> {
        let rows = rows.to_owned();
        self.at_start(move |db| epoch(db, &rows))
    }

    /// Keeps an event, in the order of the calls. `told` learns its `seq` once it is on disk, from
    /// the writer's thread and in that order, and must not block.
    pub fn keep_event(
        &self,
        channel: Arc<str>,
        (id, time, payload): (Uuid, u64, Payload),
        bounds: History,
        told: impl FnOnce(Result<u64, Fault>) + Send + 'static,
    ) -> Result<(), Fault> {
        let keep = move |db: &Connection| {
            let mut tally = Tally::of(db, &channel)?;
            tally.add(db, &channel, (id, time, &payload))?;
            tally.trim(db, &channel, Some(bounds), &mut usize::MAX.clone())?;
            tally.save(db, &channel)?;
            Ok(tally.seq)
        };
        self.submit(keep, told)
    }

    /// Reads up to `count` events whose payloads have up to `bytes` together, but at least one.
    pub async fn events(
        &self,
        channel: Arc<str>,
        which: Which,
        count: usize,
        bytes: usize,
    ) -> Result<Page, Fault> {
        self.read(move |db| {
            // One view of it all, whatever is written meanwhile.
            let view = db.unchecked_transaction()?;
            let page = page(db, &channel, which, count, bytes)?;
            view.commit()?;
            Ok(page)
        })
        .await
    }

    /// Takes out what is too old, in a part of the channels behind `after` in the order of their
    /// names. Returns from where to go on; `None` at the end. What has no `bounds` is forgotten.
    pub async fn sweep_events(
        &self,
        after: Option<String>,
        bounds: impl Fn(&str) -> Option<History> + Send + 'static,
    ) -> Result<Option<String>, Fault> {
        let after = after.unwrap_or_default();
        self.write(move |db| sweep(db, after, bounds)).await
    }
}

fn epoch(db: &Connection, rows: &str) -> rusqlite::Result<u64> {
    let known: Option<i64> = memo(db, "epoch")?;
    let before: Option<String> = memo(db, "histories")?;
    if let Some(epoch) = known.filter(|_| before.as_deref() == Some(rows)) {
        return Ok(epoch as u64);
    }
    let bits = random_bits().unwrap_or_else(|| Uuid::new_v4().as_u128());
    // Short, because clients send it back and forth.
    let epoch = bits as u64 >> 16;
    remember(db, "epoch", epoch as i64)?;
    remember(db, "histories", rows)?;
    Ok(epoch)
}

/// What is known of one channel's history.
struct Tally {
    seq: u64,
    first: u64,
    count: u64,
    bytes: u64,
}

impl Tally {
    /// Of a channel that has none it begins behind all that were forgotten, so that no position of
    /// those comes again.
    fn of(db: &Connection, channel: &str) -> rusqlite::Result<Tally> {
        let known = db
            .prepare_cached("SELECT seq, first, count, bytes FROM channel WHERE name = ?")?
            .query_row([channel], |row| {
                Ok(Tally {
                    seq: number(row, 0)?,
                    first: number(row, 1)?,
                    count: number(row, 2)?,
                    bytes: number(row, 3)?,
                })
            });
        if let Some(tally) = known.optional()? {
            return Ok(tally);
        }
        let floor = memo::<i64>(db, "floor")?.unwrap_or(0) as u64;
        Ok(Tally {
            seq: floor,
            first: floor + 1,
            count: 0,
            bytes: 0,
        })
    }

    fn add(
        &mut self,
        db: &Connection,
        channel: &str,
        (id, time, payload): (Uuid, u64, &Payload),
    ) -> rusqlite::Result<()> {
        self.seq += 1;
        self.count += 1;
        self.bytes += payload.len() as u64;
        db.prepare_cached(
            "INSERT INTO event (channel, seq, id, time, form, payload) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            channel,
            self.seq as i64,
            id.as_bytes(),
            time as i64,
            form(payload),
            &payload.bytes()[..],
        ])
        .map(drop)
    }

    /// Takes out the oldest events until the bounds hold, at most so `many`; all without bounds.
    fn trim(
        &mut self,
        db: &Connection,
        channel: &str,
        bounds: Option<History>,
        many: &mut usize,
    ) -> rusqlite::Result<()> {
        let horizon = |bounds: History| {
            let age = i64::try_from(bounds.age.as_millis()).unwrap_or(i64::MAX);
            (unix_ms() as i64).saturating_sub(age)
        };
        let mut oldest = db.prepare_cached(
            "SELECT seq, time, length(payload) FROM event WHERE channel = ? ORDER BY seq LIMIT 1",
        )?;
        let mut delete = db.prepare_cached("DELETE FROM event WHERE channel = ? AND seq = ?")?;
        while self.count > 0 && *many > 0 {
            let found = oldest.query_row([channel], |row| {
                Ok((number(row, 0)?, row.get::<_, i64>(1)?, number(row, 2)?))
            });
            let Some((seq, time, length)) = found.optional()? else {
                (self.count, self.bytes, self.first) = (0, 0, self.seq + 1);
                break;
            };
            if let Some(bounds) = bounds
                && self.count <= u64::from(bounds.count)
                && self.bytes <= bounds.bytes
                && time >= horizon(bounds)
            {
                break;
            }
            delete.execute(params![channel, seq as i64])?;
            self.first = seq + 1;
            self.count -= 1;
            self.bytes = self.bytes.saturating_sub(length);
            *many -= 1;
        }
        Ok(())
    }

    fn save(&self, db: &Connection, channel: &str) -> rusqlite::Result<()> {
        db.prepare_cached(
            "INSERT OR REPLACE INTO channel (name, seq, first, count, bytes) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            channel,
            self.seq as i64,
            self.first as i64,
            self.count as i64,
            self.bytes as i64,
        ])
        .map(drop)
    }

    /// Nothing is left of the channel but that its positions are not given again.
    fn forget(&self, db: &Connection, channel: &str) -> rusqlite::Result<()> {
        let floor = memo::<i64>(db, "floor")?.unwrap_or(0) as u64;
        if self.seq > floor {
            remember(db, "floor", self.seq as i64)?;
        }
        db.prepare_cached("DELETE FROM channel WHERE name = ?")?
            .execute([channel])
            .map(drop)
    }
}

fn page(
    db: &Connection,
    channel: &str,
    which: Which,
    count: usize,
    bytes: usize,
) -> rusqlite::Result<Page> {
    let tally = Tally::of(db, channel)?;
    let mut page = Page {
        seq: tally.seq,
        first: tally.first,
        events: Vec::new(),
    };
    if count == 0 {
        return Ok(page);
    }
    let (after, order) = match which {
        Which::After(seq) => (seq, "ASC"),
        Which::Latest => (0, "DESC"),
    };
    let mut query = db.prepare_cached(&format!(
        "SELECT seq, id, time, form, payload FROM event WHERE channel = ? AND seq > ? \
         ORDER BY seq {order} LIMIT ?"
    ))?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = query.query(params![channel, after, count as i64])?;
    let mut size = 0;
    while let Some(row) = rows.next()? {
        let record = record(row)?;
        size += record.payload.len();
        if size > bytes && !page.events.is_empty() {
            break;
        }
        page.events.push(record);
    }
    if which == Which::Latest {
        page.events.reverse();
    }
    Ok(page)
}

/// An event as its row has it.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        seq: number(row, 0)?,
        id: Uuid::from_bytes(row.get(1)?),
        time: number(row, 2)?,
        payload: payload(row.get(3)?, row.get(4)?),
    })
}

/// The number that stands for what the bytes of a payload are.
pub(super) fn form(payload: &Payload) -> i64 {
    match payload.form() {
        Form::Json => 0,
        Form::Text => 1,
        Form::Binary | Form::Unchecked | Form::UncheckedJson => 2,
    }
}

/// A payload as it was settled.
pub(super) fn payload(form: i64, bytes: Vec<u8>) -> Payload {
    match form {
        0 => Payload::json(bytes),
        1 => Payload::text(bytes),
        _ => Payload::binary(bytes),
    }
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| number as u64)
}

fn sweep(
    db: &Connection,
    mut after: String,
    bounds: impl Fn(&str) -> Option<History>,
) -> rusqlite::Result<Option<String>> {
    let names: Vec<String> = db
        .prepare_cached("SELECT name FROM channel WHERE name > ? ORDER BY name LIMIT ?")?
        .query_map(params![after, CHANNELS as i64], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let all = names.len() < CHANNELS;
    let mut many = OLD;
    for name in names {
        let mut tally = Tally::of(db, &name)?;
        let before = tally.count;
        tally.trim(db, &name, bounds(&name), &mut many)?;
        if tally.count == 0 {
            tally.forget(db, &name)?;
        } else if tally.count < before {
            tally.save(db, &name)?;
        }
        if many == 0 {
            return Ok(Some(after)); // the rest of this one comes next
        }
        after = name;
    }
    Ok((!all).then_some(after))
}
